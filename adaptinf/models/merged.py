"""A learner as an ordinary Hugging Face folder: adapters merged into the weights, the other files those of its base.

Settings, tokenizer, processor and templates are copied from the base model byte for byte, since programs with another
version of transformers may read them in another way than this one writes them; only the type of the weights is set.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME

from adaptinf.errors import ModelError
from adaptinf.models.adapters import merge_adapter
from adaptinf.models.blocks import base_model
from adaptinf.models.chat import encode_prompts, placed
from adaptinf.models.files import files_beside_weights, model_folder
from adaptinf.models.loading import Learner, load
from adaptinf.models.memory import release
from adaptinf.models.passes import Agreement, agreement, is_same
from adaptinf.models.quiet import quiet_libraries
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.storage import space, tables

ROUNDING_OF_MERGING = 10.0
"""How much more than by rounding of one pass the logits may change when an adapter is added into the weights."""
COMPARED_TOKENS = 8
"""Last tokens of a prompt whose logits are compared."""
TYPES = {f"{torch_}{name}" for torch_ in ("", "torch.") for name in ("float32", "bfloat16", "float16", "float64")}
_NAMES_OF_TYPE = ("dtype", "torch_dtype")
"""Keys of a configuration for the type of the weights: of today, and of earlier versions of transformers."""


def write_merged(recipe: LearnerRecipe, out: Path, *, base: str, dtype: str | None = None) -> Agreement:
    """Write the learner that a recipe describes as a folder that `from_pretrained` opens, without any adapter.

    Weights that the run holds quantised are loaded unquantised, as adapters cannot be added into them otherwise.
    The folder is loaded again: all weights and the logits of short prompts are compared with the learner's. Returns how
    near its logits are to those of the learner as it was, before its weights were rounded to `dtype`.

    Args:
        recipe: how to make the learner; it is loaded here, and gone afterwards.
        out: folder to write into; made if missing.
        base: the model that all training began from, folder or hub name; its other files are copied.
        dtype: type of the weights, by torch's name; None: that of the learner in memory.

    Raises:
        ModelError: the folder would not be this model: its weights or logits differ from the learner's.
        OSError: the disk is full; it has the name of the folder.
    """
    learner = recipe.unquantised().make()
    prompts = trial_prompts(learner)
    before = [last_logits(learner, prompt) for prompt in prompts]
    learner = _without_adapter(learner, prompts, before, out)
    if dtype is not None:
        _cast(learner.model, dtype)
    _save(learner, out, base)
    prints, logits = learner.fingerprint, [last_logits(learner, prompt) for prompt in prompts]
    settings = learner.config.model_copy(update={"path": str(out), "dtype": _type(learner), "adapter": None})
    # Two large models at once may not fit.
    del learner
    release()
    _check(load(settings), prompts, logits, prints, out)
    release()
    return agreement(before, logits)


# Any: torch modules of models share no typed base class.
def _cast(model: Any, dtype: str) -> None:
    """Round the weights to another type; what a model computes anew when it is loaded stays as it is.

    Raises:
        ModelError: a weight is too large for the type.
    """
    saved = model.state_dict().keys()
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if name in saved]
    for name, weight in [*model.named_parameters(), *buffers]:
        if not weight.is_floating_point():
            continue
        was_finite = bool(torch.isfinite(weight).all())
        weight.data = weight.data.to(getattr(torch, dtype))
        if was_finite and not bool(torch.isfinite(weight).all()):
            raise ModelError(f"{name}: a trained weight is too large for {dtype}, the type of the base model's weights")


def _type(learner: Learner) -> str:
    return str(learner.model.dtype).removeprefix("torch.")


def trial_prompts(learner: Learner) -> list[dict[str, Tensor]]:
    """Return prompts of text alone and, for a model that takes images, of an image, as its processor makes them."""
    kinds = (0, 1) if learner.has_vision else (0,)
    return [encode_prompts(learner, [trial_sample(1, count)], [trial_images(count)]) for count in kinds]


@torch.inference_mode()
def last_logits(learner: Learner, prompt: dict[str, Tensor]) -> Tensor:
    """Return the logits of the last tokens of a prompt, on the CPU."""

    def last(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, -COMPARED_TOKENS:], *args[1:])

    hook = base_model(learner.model).get_output_embeddings().register_forward_pre_hook(last)
    try:
        logits: Tensor = learner.model(**placed(prompt, learner), use_cache=False).logits
    finally:
        hook.remove()
    return logits[:, -COMPARED_TOKENS:].cpu()


def _without_adapter(learner: Learner, prompts: list[dict[str, Tensor]], before: list[Tensor], out: Path) -> Learner:
    """Return the learner with an adapter that is not merged yet added into its weights.

    Raises:
        ModelError: its logits change by more than rounding, as where a weight that two layers share is adapted in one.
    """
    if not hasattr(learner.model, "peft_config"):
        return learner
    merged = merge_adapter(learner)
    for prompt, logits in zip(prompts, before, strict=True):
        if not is_same(logits, last_logits(merged, prompt), times=ROUNDING_OF_MERGING):
            raise ModelError(
                f"{out}: with its adapter merged into its weights the model gives other logits than with the adapter "
                f"beside them; use the adapter with {learner.config.path} instead"
            )
    return merged


def _save(learner: Learner, out: Path, base: str) -> None:
    model = learner.model
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        with space.named(out), quiet_libraries():
            # Settings of generation that contradict each other would be refused here, but not by those who read them.
            model.save_pretrained(out)
            (out / GENERATION_CONFIG_NAME).unlink(missing_ok=True)
            _copy_other_files(learner, out, base)
    finally:
        model.generation_config = own


def _copy_other_files(learner: Learner, out: Path, base: str) -> None:
    folder, _ = model_folder(base)
    if folder is None:
        raise ModelError(f"model.path={base} is no longer there, so its tokenizer cannot be copied; bring it back")
    for name in files_beside_weights(folder, runs_code=learner.config.trust_remote_code):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if name == CONFIG_NAME:
            settings = _of_type(json.loads((folder / name).read_text(encoding="utf-8")), _type(learner))
            # It names weights that are not these.
            tables.write_json(out / name, {key: settings[key] for key in settings if key != "transformers_weights"})
        else:
            shutil.copyfile(folder / name, out / name)


def _of_type(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration, those of its parts included, in which weights have another type."""
    changed = {}
    for key, value in settings.items():
        if key in _NAMES_OF_TYPE and value in TYPES:
            value = name
        changed[key] = _of_type(value, name) if isinstance(value, dict) and "model_type" in value else value
    return changed


def _check(
    written: Learner, prompts: list[dict[str, Tensor]], logits: list[Tensor], fingerprint: str, out: Path
) -> None:
    """Compare a folder that was loaded again with the learner that it was written from.

    Raises:
        ModelError: it is another model.
    """
    again = trial_prompts(written)
    problem = None
    if written.fingerprint != fingerprint:
        problem = "some of its weights differ"
    elif any(not are_equal(one, other) for one, other in zip(prompts, again, strict=True)):
        problem = "its processor makes other tokens of a prompt"
    elif any(not is_same(one, last_logits(written, prompt)) for one, prompt in zip(logits, prompts, strict=True)):
        problem = "its logits differ"
    if problem:
        raise ModelError(
            f"{out}: the model that is loaded from there is not the trained one: {problem}; use the adapter with the "
            "base model instead, and report the model family, as this package saves it wrongly"
        )


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Tell whether two processors have made the same of a prompt."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
