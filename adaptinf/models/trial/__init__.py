"""A model tried for a few seconds before anything is measured: what would go wrong silently, or hours later.

Each check looks at what the model does with two or three short conversations, so that none knows of a family. Whatever
else goes wrong in a check is one line with the way out.
"""

from __future__ import annotations

from collections.abc import Callable

from adaptinf.models.loading import Learner
from adaptinf.models.passes import uncut
from adaptinf.models.structure import in_mode
from adaptinf.models.trial.attention import causality, mask, mixed_batches
from adaptinf.models.trial.findings import Finding, Trial
from adaptinf.models.trial.text import end_token, image_tokens, positions, token_ids
from adaptinf.models.trial.weights import adapters, projector

__all__ = ["Finding", "Trial", "try_model"]

Check = Callable[[Learner], Finding | None]
CHECKS: dict[str, Check] = {
    "token ids": token_ids,
    "positions": positions,
    "end token": end_token,
    "image tokens": image_tokens,
    "causality": causality,
    "mask": mask,
    "mixed batches": mixed_batches,
    "adapters": adapters,
    "projector": projector,
}
"""Name -> check; None: it does not concern the model."""


def try_model(learner: Learner) -> Trial:
    """Return what a trial of a model finds; its weights, modes and the random numbers are left as they are.

    Args:
        learner: the model with the adapter that is trained; without one, adapters are not tried.
    """
    # Positions are those of the user's max_length; everything else is tried on whole conversations.
    tried = {name: learner if check is positions else uncut(learner) for name, check in CHECKS.items()}
    with in_mode(learner.model, is_training=False):
        found = [_checked(name, check, tried[name]) for name, check in CHECKS.items()]
    return Trial(findings=tuple(finding for finding in found if finding is not None))


def _checked(name: str, check: Check, learner: Learner) -> Finding | None:
    try:
        return check(learner)
    except Exception as error:  # code of any architecture and processor; the trial is there to see it
        cause = " ".join(str(error).split())[:300]
        return Finding(
            name=name,
            seen=f"the trial failed with {type(error).__name__}: {cause}",
            is_good=False,
            way_out="use another model or version of transformers; `adaptinf inspect FILE --model MODEL` shows how it "
            "reads a sample",
        )
