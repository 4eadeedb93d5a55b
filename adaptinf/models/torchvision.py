"""A torchvision that does not fit torch is put aside, so that models which do not need it still work.

torchvision is optional, and half of the processors ask for it. With the build for another torch its import fails, and
with it that of every processor and tokenizer of transformers: text-only models would be lost as well.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)


@cache
def torchvision_fault() -> str | None:
    """Return why the installed torchvision cannot be imported, in one line; None where it can, or there is none.

    The first call hides such a torchvision from this process, so that transformers goes on without it.
    """
    if _is_absent():
        return None
    try:
        importlib.import_module("torchvision")
        return None
    except Exception as error:  # whatever a compiled extension of another version raises
        fault = f"torchvision {_version('torchvision')} does not fit torch {_version('torch')}: {_one_line(error)}"
    _hide()
    logger.warning(
        "%s. Models that need no torchvision still work; for the others install the torchvision of your torch: "
        "pip install --force-reinstall torchvision, from the index that torch came from",
        fault,
    )
    return fault


def _is_absent() -> bool:
    known = sys.modules.get("torchvision", sys)
    return known is None or (known is sys and importlib.util.find_spec("torchvision") is None)


def _hide() -> None:
    """Make the import system say that there is no torchvision."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    # Any: None is what the import system documents for a module that must not be found.
    modules: Any = sys.modules
    modules["torchvision"] = None
    _forget_answers()


def _forget_answers() -> None:
    """Let transformers look again, if it has asked for torchvision before."""
    utilities = sys.modules.get("transformers.utils.import_utils")
    for name in ("is_torchvision_available", "is_torchvision_v2_available", "is_torchvision_greater_or_equal"):
        forget = getattr(getattr(utilities, name, None), "cache_clear", None)
        if forget is not None:
            forget()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
