"""What the sections of stream.yaml have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from adaptinf.outside import seconds_of


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def _duration(value: str | None) -> str | None:
    """Return a duration such as 30m as it is.

    Raises:
        ValueError: it is none.
    """
    if value is not None:
        seconds_of(value)
    return value


Duration = Annotated[str | None, AfterValidator(_duration)]
"""A time such as 30m or 12h; null: no limit."""
