"""Whether the packages of the extra `adaptinf[view]` are installed."""

from __future__ import annotations

from importlib.util import find_spec

from adaptinf.errors import ConfigError

PACKAGE = "umap"
"""Module that the extra brings: UMAP, which the map is made with."""


def is_installed() -> bool:
    """Tell whether the extra is installed; nothing of it is imported, which takes seconds."""
    return find_spec(PACKAGE) is not None


def check_installed() -> None:
    """Refuse to show a pool without the extra.

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed():
        raise ConfigError(
            "adaptinf view needs umap-learn, which is not installed: pip install 'adaptinf[view]' "
            "(`view --live` and `report` need no extra)"
        )
