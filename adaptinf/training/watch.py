"""What a training changes, looked at while it runs: only what should be trained, all kinds of it, and the answers.

A known fault of adapters is silent: the loss falls or not, and the model answers as before, because an adapter is on
layers that nothing runs through, or was put aside; or a resumed training changes many times more weights than meant.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import xxhash
from torch import Tensor, nn
from transformers import TrainerCallback

from adaptinf.errors import ModelError
from adaptinf.models.blocks import base_model
from adaptinf.models.loading import Learner, sampled
from adaptinf.models.shares import is_added, names_of
from adaptinf.models.structure import in_mode, kind_of_member, trial_ids

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A learner as it was before training."""

    digests: Mapping[str, str]
    """Trained weight -> digest of some of its numbers."""
    logits: Tensor | None
    """What it gave for a trial text, float32; None where it takes more than tokens."""


def begin(learner: Learner, *, has_adapter: bool) -> Watch:
    """Return what is looked at again after training.

    Raises:
        ModelError: other weights would be trained than those of the adapter and the trained projector.
    """
    if has_adapter:
        check_trained(learner.model)
    return Watch(digests=_digests(learner.model), logits=_logits(learner))


def check_trained(model: nn.Module) -> None:
    """Refuse a model with an adapter in which anything else would be trained, or not all of it.

    Raises:
        ModelError: with the first names.
    """
    wrong = [name for name, weight in model.named_parameters() if weight.requires_grad != is_added(name)]
    # Where an adapter has its own copy of a module, the original stays.
    if wrong:
        what = (
            "would be trained beside the adapter" if not is_added(wrong[0]) else "of the adapter would not be trained"
        )
        raise ModelError(
            f"{len(wrong)} weights {what}: {names_of(wrong)}; the adapter was made for other layers, or by another "
            "version of peft: begin a new run, or update peft"
        )


class TrainsTheAdapter(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Checks what is trained once a checkpoint has been read, before the first step."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Refuse what `check_trained` refuses."""
        check_trained(model)


def end(watch: Watch, learner: Learner) -> list[str]:
    """Return what a user should know of what training did not change, a line each.

    Raises:
        ModelError: it changed no weight at all, or no answer.
    """
    after = _digests(learner.model)
    changed = {_kind(name) for name, digest in after.items() if watch.digests.get(name) != digest}
    still = sorted({_kind(name) for name in after} - changed)
    if not changed:
        raise ModelError(
            f"training changed none of {len(after)} weights ({names_of(still)}): no gradient reached them, or "
            "training.learning_rate is too low for model.dtype; see `adaptinf doctor stream.yaml`"
        )
    notes = [f"training changed nothing in {names_of(still)}: no sample runs through these layers"] if still else []
    logits = _logits(learner)
    if logits is None or watch.logits is None or not torch.equal(logits, watch.logits):
        return notes
    seen = "the trained model gives the same as before for a trial text, although its weights have changed"
    if learner.model.dtype == torch.float32:
        raise ModelError(
            f"{seen}: the adapter is not applied; update peft and transformers, or set training.tune: full"
        )
    return [*notes, f"{seen}: the change is smaller than what {learner.model.dtype} rounds; train more or faster"]


def _digests(model: nn.Module) -> dict[str, str]:
    """Return the digest of some numbers of every trained weight."""
    found = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            found[name] = xxhash.xxh3_64_hexdigest(sampled(weight).numpy().tobytes())
    return found


def _kind(name: str) -> str:
    """Return which kind of layer a trained weight is of: its name without the numbers of blocks."""
    return kind_of_member(name.split(".lora_")[0].removeprefix("base_model.model."))


@torch.no_grad()
def _logits(learner: Learner) -> Tensor | None:
    model = base_model(learner.model)
    try:
        with in_mode(model, is_training=False):
            found: Tensor = model(input_ids=trial_ids(model), use_cache=False).logits.float().cpu()
    except Exception:  # code of any architecture, which may ask for more than tokens
        return None
    return found
