"""Silence from the libraries below while our own progress and messages say what matters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("transformers", "peft", "accelerate")
"""Deprecations between these are not the user's to fix."""


def silence_libraries() -> None:
    """Turn off progress bars, notes and deprecation warnings of transformers, PEFT and Accelerate in this process."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for library in LIBRARIES:
        warnings.filterwarnings("ignore", category=FutureWarning, module=library)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence these libraries for the block; afterwards they are as loud as before."""
    from transformers.utils import logging

    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        with warnings.catch_warnings():
            silence_libraries()
            yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
