"""Whether the packages of the extra `adaptinf[view]` are installed."""

from __future__ import annotations

from adaptinf.errors import ConfigError
from adaptinf.pipeline.mapping import is_installed


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
