"""What a trial of a model found, one line per check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adaptinf.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of a trial."""

    name: str
    """What was tried."""
    seen: str
    """What was seen, in words."""
    is_good: bool
    """Whether the model can be used as it is."""
    way_out: str = ""
    """What to do; of a good finding what to know, empty if there is nothing."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The findings about one model."""

    findings: tuple[Finding, ...]
    """One per check, in the order in which they were made."""

    @property
    def notes(self) -> list[str]:
        """One line for each good finding that a user should know of."""
        return [f"{found.name}: {found.seen}; {found.way_out}" for found in self.findings if _is_note(found)]

    def refuse_bad(self, path: str) -> None:
        """Refuse a model of which a check failed.

        Args:
            path: of the model, for the message.

        Raises:
            ModelError: one line per failed check, with the way out.
        """
        bad = [f"{found.name}: {found.seen}; {found.way_out}" for found in self.findings if not found.is_good]
        if bad:
            raise ModelError(f"a trial of model.path={path} failed before any work: {' | '.join(bad)}")

    def as_json(self) -> list[dict[str, Any]]:
        """Return the findings as plain values."""
        return [asdict(found) for found in self.findings]

    @classmethod
    def from_json(cls, values: Sequence[dict[str, Any]]) -> Trial:
        """Return the trial of which `as_json` was kept."""
        return cls(findings=tuple(Finding(**value) for value in values))


def _is_note(found: Finding) -> bool:
    return found.is_good and bool(found.way_out)
