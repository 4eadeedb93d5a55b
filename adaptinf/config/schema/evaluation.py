"""Sections `evaluation` and `evaluation_gate`: the skills to test, and what happens when one has lost too much."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from adaptinf.config.schema.data import SourceConfig
from adaptinf.config.schema.section import Duration, Section


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


HARNESS_KEYS = ("command", "reads", "count", "scale", "timeout")
"""Keys of a skill that a command tests; the others but `skill` and `introduced_at` are of skills with items."""


class SkillConfig(SourceConfig):
    """One skill to test after every step: by items of a file, or by a command, such as a harness."""

    path: str = ""
    """File, folder, pattern, address or hub name of items, whose last assistant turn is the right answer."""
    skill: str = Field(min_length=1)
    """Name of the skill, the same as in the data if the data name skills."""
    metric: str = "exact"
    """Name of the metric (`adaptinf list`)."""
    boxes: Literal["pixels", "unit", "0-999", "0-1000"] | None = None
    """Unit of boxes (iou): pixels of the image, 0 to 1, or 0 to 999 or 1000; null: any, if answers and predictions
    have the same one."""
    options: dict[str, Any] = {}
    """Other options of the metric (docs/metrics.md): `{tolerance: 0.1}`."""
    introduced_at: Annotated[str, BeforeValidator(_as_text)] | None = None
    """Dataset (or its number) that first teaches the skill; `base`: known before; null: found in the data's skills."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer in tokens."""
    command: str | None = None
    """Instead of `path`: a command that tests the model, with placeholders such as {merged}; see docs/harness.md."""
    reads: str | None = None
    """What the command leaves in {output}: lmms_eval, lmms_eval:TASK/METRIC, or json:KEY, such as json:scores.all."""
    count: str | None = None
    """With `reads: json:KEY`, the key of the number of items; null: unknown."""
    scale: float | None = Field(default=None, gt=0)
    """Largest value that the score of a command can have, such as 100 for percent; null: 1."""
    timeout: Duration = None
    """Longest time of one run of the command, such as 30m or 12h; null: as long as it takes."""

    @property
    def foreign_keys(self) -> frozenset[str]:
        """Keys that have no meaning for this skill: those of the other way to test one."""
        own = {"skill", "introduced_at", *(HARNESS_KEYS if self.command is not None else ())}
        return frozenset(HARNESS_KEYS) if self.command is None else frozenset(type(self).model_fields) - own

    @model_validator(mode="after")
    def _is_tested_in_one_way(self) -> SkillConfig:
        fields = type(self).model_fields
        strange = [key for key in fields if key in self.foreign_keys and getattr(self, key) != fields[key].default]
        if self.command is None and not self.path:
            raise ValueError("needs path (a file of items) or command (of a harness)")
        if strange and self.command is None:
            raise ValueError(f"{', '.join(strange)}: for a skill that a command tests, but there is no command")
        if strange:
            raise ValueError(f"{', '.join(strange)}: for a skill with items, but command is given; keep one of both")
        if self.command is not None and self.reads is None:
            raise ValueError("command needs reads: lmms_eval, lmms_eval:TASK/METRIC or json:KEY")
        return self

    @property
    def metric_options(self) -> dict[str, Any]:
        """All options of the metric that are set."""
        return {**({} if self.boxes is None else {"boxes": self.boxes}), **self.options}

    @property
    def metric_text(self) -> str:
        """The metric and its options as text, such as "iou boxes=unit": scores of the same text mean the same."""
        return " ".join([self.metric, *(f"{name}={value}" for name, value in sorted(self.metric_options.items()))])

    @model_validator(mode="after")
    def _sets_boxes_once(self) -> SkillConfig:
        if self.boxes is not None and "boxes" in self.options:
            raise ValueError("boxes and options: {boxes: ...} are both given; keep boxes")
        return self


class GateConfig(Section):
    """What happens after a step when a skill has lost too much since its best accepted row."""

    max_drop: float = Field(default=3.0, ge=0, lt=100)
    """Largest drop that passes, in points; a larger one counts when its interval over the test items excludes 0."""
    action: Literal["stop", "warn", "rollback"] = "stop"
    """stop: wait for `adaptinf accept RUN gate`; warn: go on; rollback: go on from the model before the step."""
