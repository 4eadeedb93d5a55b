"""Files that fsspec opens: addresses such as s3://bucket/folder, hf://datasets/name/folder, memory://file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from adaptinf.errors import DataError

_MAX_REASON = 160
T = TypeVar("T")


def opened_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address (of fsspec, which has no types) and the path in it.

    Raises:
        DataError: the protocol is unknown, or needs a package that is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        raise DataError(f"{address} needs a package that is not installed: {_reason(error)}") from error
    except ValueError as error:
        raise DataError(f"{address} cannot be opened: {_reason(error)}") from error
    except Exception as error:  # what a file system raises where there are no credentials or no network
        raise unreachable(address, error) from error
    return system, path


def answered(address: str, question: Callable[[], T]) -> T:
    """Return what a file system answers.

    Raises:
        DataError: it cannot be asked.
    """
    try:
        return question()
    except DataError:
        raise
    except Exception as error:  # errors of a file system are of many kinds
        raise unreachable(address, error) from error


def unreachable(address: str, error: Exception) -> DataError:
    """Return what to say of an address that does not answer; file systems raise errors of many kinds."""
    return DataError(
        f"{address} cannot be read ({type(error).__name__}: {_reason(error)}); check the address, your rights and the "
        "network, then repeat the command, or name a local copy"
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."
