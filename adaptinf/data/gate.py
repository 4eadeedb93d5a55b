"""Gate: what the evaluation of a step was found to have lost against earlier steps, and what became of the step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from adaptinf.storage import tables
from adaptinf.words import counted

Action = Literal["stop", "warn", "rollback"]
"""What a gate does where a drop counts; as `evaluation_gate.action`."""
Verdict = Literal["kept", "dropped", "not decided", "not compared"]
"""kept: no drop, or none beyond the limit; dropped: the drop counts; not decided: it is beyond the limit, but may be
chance; not compared: there is nothing to compare with."""


@dataclass(frozen=True, kw_only=True)
class GateSkill:
    """One skill under the gate; accuracies in 0..1, drops in points."""

    skill: str
    """Its name."""
    verdict: Verdict
    """What was found."""
    reason: str = ""
    """Why it is not compared."""
    best_step: int | None = None
    """Step of the best accepted row, the first of several; -1: the base model; None: not compared."""
    best: float | None = None
    """Accuracy there."""
    score: float | None = None
    """Accuracy after the step; None: not tested."""
    drop: float | None = None
    """Points lost; negative: a gain."""
    low: float | None = None
    """Lower end of the 95 % interval of the drop over the test items of both; None: compared by size alone."""
    high: float | None = None
    """Upper end."""
    num_items: int = 0
    """Test items that both rows have scores of; 0: none, so that the skill is compared by size alone."""
    needed: int | None = None
    """Items with which such a drop would count; None: it is decided, or no number would decide it."""

    @property
    def is_by_size(self) -> bool:
        """Whether the skill is compared by the size of its drop alone."""
        return self.drop is not None and not self.num_items

    @property
    def line(self) -> str:
        """What was found, in a phrase."""
        if self.drop is None or self.best is None or self.score is None:
            return f"{self.skill}: not compared: {self.reason}"
        where = "the base model" if self.best_step == -1 else f"step {self.best_step}"
        text = f"{self.skill}: {100.0 * self.best:.1f} ({where}) to {100.0 * self.score:.1f}, {self.drop:.1f} points"
        if self.low is not None and self.high is not None:
            text += f" (95 % interval {self.low:.1f} to {self.high:.1f}, {counted(self.num_items, 'item')})"
        else:
            text += " (by size alone, as no scores of single items are known)"
        if self.verdict == "not decided":
            text += f"; not decided: {counted(self.num_items, 'item')}"
            text += "" if self.needed is None else f", about {self.needed:,} would decide it"
        return text


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The gate of one step."""

    FILE: ClassVar[str] = "gate.json"

    max_drop: float
    """The limit, in points."""
    action: Action
    """What the settings say for a drop that counts."""
    skills: tuple[GateSkill, ...]
    """Every skill, in the order of the matrix."""
    is_rejected: bool = False
    """Whether the step is rolled back, so that its row does not count."""

    def of(self, *verdicts: Verdict) -> tuple[GateSkill, ...]:
        """Return the skills with one of these verdicts."""
        return tuple(skill for skill in self.skills if skill.verdict in verdicts)

    @property
    def is_passed(self) -> bool:
        """Whether no drop counts."""
        return not self.of("dropped")

    def lines(self) -> Iterator[str]:
        """Yield what is to be said of a step: drops that count, those that are not decided, skills left out."""
        limit = f"{self.max_drop:g} points"
        for skill in self.of("dropped"):
            yield f"drop of more than {limit}: {skill.line}"
        for skill in self.of("not decided"):
            yield f"may be a drop of more than {limit}: {skill.line}"
        for skill in self.of("not compared"):
            yield skill.line

    @property
    def size_line(self) -> str:
        """Which skills are compared by the size of their drop alone; empty: none."""
        by_size = [skill.skill for skill in self.skills if skill.is_by_size]
        names = ", ".join(by_size)
        return f"compared by size alone, as no scores of single items are known: {names}" if by_size else ""

    def save(self, folder: Path) -> None:
        """Write gate.json."""
        tables.write_json(
            folder / self.FILE,
            {
                "max_drop": self.max_drop,
                "action": self.action,
                "passed": self.is_passed,
                "rejected": self.is_rejected,
                "skills": [asdict(skill) for skill in self.skills],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Gate:
        """Return the saved gate.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = folder / cls.FILE
        found = tables.read_record(path, skills=list, rejected=bool)
        with tables.as_written(path):
            return cls(
                max_drop=float(found["max_drop"]),
                action=_known(found["action"], get_args(Action)),
                skills=tuple(_skill(entry) for entry in found["skills"]),
                is_rejected=found["rejected"],
            )


def _skill(entry: dict[str, Any]) -> GateSkill:
    known = {field.name for field in fields(GateSkill)}
    _known(entry["verdict"], get_args(Verdict))
    return GateSkill(**{name: value for name, value in entry.items() if name in known})


def _known(value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise ValueError(value)
    return value
