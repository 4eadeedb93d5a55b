"""Which samples of a pool the model cannot be trained on, and why."""

from __future__ import annotations

from adaptinf.data import Checked, Features
from adaptinf.runs import Run


def unusable_samples(run: Run, step: int) -> dict[str, str]:
    """Return the id of each sample that is not selectable in a step -> why.

    They are those that a check found when their dataset arrived, and those that extraction found in this step: without
    an answer token, with an image that cannot be opened, or refused by the processor or the model.
    """
    checks = (run.load(number, Checked) for number in range(step + 1))
    found = {name: reason for check in checks if check is not None for name, reason in check.unusable.items()}
    features = run.load(step, Features)
    return found if features is None else found | features.unusable
