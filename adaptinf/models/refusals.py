"""Samples that a model cannot use: a few are recorded, too many stop the work with a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from adaptinf.errors import ModelError
from adaptinf.words import counted, one_line, shortened

MAX_IN_A_ROW = 100
"""So many refused samples one after another stop the work: something is wrong with all of them."""
MAX_SHARE = 0.2
"""A larger share of refused samples stops the work too."""
SHOWN_REASONS = 3
"""Reasons in the summary, the most frequent first."""


NO_ANSWER = "no token of an answer lies within max_length"
"""Why a sample is not selectable that `max_length` cuts before its first answer."""


def failure(error: Exception) -> str:
    """Return why a sample cannot be used on which the model itself failed."""
    return f"the model fails on it: {shortened(one_line(error))}"


def check_share(refused: Mapping[str, str], num_samples: int, stage: str) -> None:
    """Stop where more than MAX_SHARE of some samples are refused.

    Args:
        refused: id -> reason.
        num_samples: of which they are.
        stage: what is being done, for the message.

    Raises:
        ModelError: they are too many; with the most frequent reasons and an example of each.
    """
    if len(refused) > MAX_SHARE * num_samples:
        raise ModelError(
            f"{stage}: {len(refused):,} of {counted(num_samples, 'sample')} cannot be used with this model, more than "
            f"{100 * MAX_SHARE:.0f} %: {summary(refused)}; see `adaptinf validate FILE --model MODEL`"
        )


def summary(refused: Mapping[str, str]) -> str:
    """Return the most frequent reasons, each with its number and one id."""
    numbers = Counter(refused.values())
    examples = {reason: name for name, reason in reversed(list(refused.items()))}
    parts = [
        f"{reason} ({counted(number, 'sample')}, e.g. {examples[reason]})"
        for reason, number in numbers.most_common(SHOWN_REASONS)
    ]
    more = len(numbers) - len(parts)
    return "; ".join(parts) + (f"; and {counted(more, 'other reason')}" if more else "")


@dataclass
class InARow:
    """Counts refused samples that follow one another."""

    stage: str
    """What is being done, for the message."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Id -> reason, of those since the last usable sample."""

    def add(self, refused: Mapping[str, str], num_usable: int) -> None:
        """Take note of a batch.

        Raises:
            ModelError: MAX_IN_A_ROW samples were refused one after another.
        """
        if num_usable:
            self.reasons = {}
        self.reasons.update(refused)
        if len(self.reasons) >= MAX_IN_A_ROW:
            raise ModelError(
                f"{self.stage}: {len(self.reasons):,} samples in a row cannot be used with this model: "
                f"{summary(self.reasons)}"
            )
