"""Work as bytes, for executors that send it to other processes."""

from __future__ import annotations

import pickle
from typing import Any

from adaptinf.errors import ConfigError
from adaptinf.executors.interface import Work
from adaptinf.executors.worker import pack

UNSENDABLE = (pickle.PicklingError, AttributeError, TypeError)
"""What pickling raises for things that only this program has."""


def packed(work: Work[Any], executor: str) -> bytes:
    """Return work as bytes that any process can be sent.

    Args:
        work: what to send.
        executor: name of the executor that sends it.

    Raises:
        ConfigError: a part of it is defined by this program alone.
    """
    try:
        return pack(work)
    except UNSENDABLE as error:
        raise ConfigError(
            f"executor: {executor} cannot be sent a part of this work ({error}); move plug-ins that this program "
            "defines into a file and name it under plugins, or set executor: local"
        ) from error
