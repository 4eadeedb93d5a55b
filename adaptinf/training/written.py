"""What an outside trainer wrote, loaded and compared with what it started from.

An adapter may fit by name and shape and still be wrong: trained on another base, begun anew, unchanged, or with weights
that no place was found for. So the files are loaded as every later stage loads them, and what they do is looked at.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import get_peft_model_state_dict
from torch import Tensor

from adaptinf.errors import ModelError
from adaptinf.models.adapters import load_adapter, merge_adapter
from adaptinf.models.files import model_folder
from adaptinf.models.folders import ADAPTER_FILE, json_settings
from adaptinf.models.loading import Learner
from adaptinf.models.passes import is_same, uncut
from adaptinf.models.quiet import quiet_libraries
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.models.stored import quantisation_in
from adaptinf.models.trial.attention import conversations
from adaptinf.training.continued import MIN_COSINE, adapter_layers, check_continued, cosine
from adaptinf.training.weights_files import check_files, check_kind, have_same_weights, named_base
from adaptinf.words import one_line, shortened

MERGE_TIMES = 10.0
"""An adapter is added to weights that may be rounded: its outputs differ by more than those of two equal batches."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a step's training starts from."""

    recipe: LearnerRecipe
    """The model with the adapter of the step before, if that is continued, and without a new one."""
    model: str
    """Folder or name of the model that the trainer was given."""
    tune: str
    """As `training.tune`."""
    place: str
    """Name of the setting with the trainer's command, for messages."""
    earlier: tuple[Path, ...] = ()
    """Folders of what earlier steps trained."""


def read_written(folder: Path, start: Start) -> Learner:
    """Return the learner that a trainer made, as it is to be saved.

    Raises:
        ModelError: what it wrote is missing, damaged, not finite, unchanged, or of another base; or it began a new
            adapter where that of the step before was to be trained further.
    """
    check_kind(folder, start.tune, start.place)
    check_files(folder, start.tune, start.place)
    if start.tune == "full":
        return _read_model(folder, start)
    _check_kind_of_adapter(folder, start.place)
    _check_base(folder, start)
    before = start.recipe.make()
    outputs, layers = _outputs(before), adapter_layers(before)
    former = _weights(before) if layers else None
    if layers:
        del before  # two models may not fit into memory
        before = replace(start.recipe, continued=None).make()
    learner = load_adapter(before, folder)
    if layers:
        check_continued(adapter_layers(learner), layers, start.place)
    _check_moved(_weights(learner) if former is not None else None, former, outputs, _outputs(learner), start)
    return learner


def check_merge(learner: Learner, place: str) -> None:
    """Check that an adapter does the same once it is merged into the weights, as all later stages use it.

    The learner's model is merged in place.

    Raises:
        ModelError: it does something else.
    """
    beside = _outputs(learner)
    merged = _outputs(merge_adapter(learner))
    if not all(is_same(one, other, times=MERGE_TIMES) for one, other in zip(beside, merged, strict=True)):
        raise ModelError(
            f"{place} wrote an adapter that gives other outputs when it is merged into the weights of the model, as "
            "with an embedding that the output head shares; train linear layers only"
        )


def _read_model(folder: Path, start: Start) -> Learner:
    """Return the learner with a whole model that was trained further; processor and tokenizer are those of before.

    So is the configuration, which is also what the model is exported with.
    """
    before = start.recipe.make()
    outputs, theirs = _outputs(before), _outputs_of_own_settings(folder, before, start)
    trained = _with_weights(folder, before, copy.deepcopy(before.model.config), start)
    former, now = _state(before.model), _state(trained.model)
    cosines = [cosine(now[name], former[name]) for name, value in former.items() if value.dim() > 1]
    if median(cosines) < MIN_COSINE:
        raise ModelError(
            f"{start.place} wrote a model of the same shape that was not trained from {start.model} (median cosine of "
            f"its weights {median(cosines):.2f}); pass {{model}} to the trainer"
        )
    after = _outputs(trained)
    if theirs is not None and not all(is_same(one, other) for one, other in zip(after, theirs, strict=True)):
        raise ModelError(
            f"{start.place} wrote a model with other settings in config.json than {start.model}, with which its "
            "weights give other outputs; let the trainer keep the configuration of {model}"
        )
    _check_moved(now, former, outputs, after, start)
    return trained


def _outputs_of_own_settings(folder: Path, before: Learner, start: Start) -> list[Tensor] | None:
    """Return the outputs of a trainer's model with its own config.json; None: that is the one of before."""
    how = quantisation_in(folder)
    if how is not None:
        raise ModelError(
            f"{start.place} wrote a model whose weights are quantised ({how}); let the trainer save plain weights, and "
            "no quantization_config"
        )
    config = before.model.config
    try:
        own = type(config).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # as many kinds as for a model
        cause = shortened(one_line(error), 300)
        raise ModelError(f"{start.place} wrote a config.json that cannot be read: {cause}") from error
    return None if own.to_dict() == config.to_dict() else _outputs(_with_weights(folder, before, own, start))


def _with_weights(folder: Path, before: Learner, config: Any, start: Start) -> Learner:
    """Return a learner with a trainer's weights under some configuration of the model.

    Raises:
        ModelError: they cannot be loaded, or are not those of a model of the same shape.
    """
    try:
        with quiet_libraries():
            found, loading = type(before.model).from_pretrained(
                folder,
                config=config,
                dtype=before.model.dtype,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are named below
            )
    except Exception as error:  # as many kinds as for a model
        cause = shortened(one_line(error), 300)
        raise ModelError(f"{start.place} wrote a model that cannot be loaded as {start.model}: {cause}") from error
    _check_shapes(before.model, found, loading, start)
    # Which tokens end an answer is the model's; a trainer may save none of them.
    found.generation_config = before.model.generation_config
    return replace(before, model=found.to(before.device).eval())


def _check_shapes(before: Any, found: Any, loading: dict[str, Any], start: Start) -> None:
    """Check that a model has the weights of another one, each from the trainer's files.

    Raises:
        ModelError: some are missing, of no use, or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in before.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in found.state_dict().items()}
    differing = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
    if differing:
        name = differing[0]
        raise ModelError(
            f"{start.place} wrote a model of another shape than {start.model}: {name} is "
            f"{shapes.get(name, 'missing')}, expected {expected.get(name, 'no such weight')}; pass {{model}} to the "
            "trainer"
        )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(map(str, loading.get(kind) or ()))
        if names:
            raise ModelError(
                f"{start.place} wrote a model with {kind.replace('_keys', ' weights')} ({len(names):,}), the first: "
                f"{names[0]}; let the trainer save the whole model with save_pretrained"
            )


def _check_base(folder: Path, start: Start) -> None:
    """Check that the base that an adapter names, where it can be looked at, has the weights of the given model.

    Raises:
        ModelError: it has others, of whatever name.
    """
    name = named_base(folder)
    if name is None or name == start.model:
        return
    theirs, ours = model_folder(name)[0], model_folder(start.model)[0]
    if theirs is None or ours is None or theirs.resolve() == ours.resolve():
        return
    if have_same_weights(theirs, ours) is False:
        raise ModelError(
            f"{start.place} wrote an adapter of another base: {ADAPTER_FILE} names {name}, whose weights are not those "
            f"of {start.model}; pass {{model}} to the trainer"
        )


def _check_kind_of_adapter(folder: Path, place: str) -> None:
    settings = json_settings(folder / ADAPTER_FILE)
    if not settings:
        raise ModelError(f"{place} wrote {ADAPTER_FILE}, which cannot be read as settings; let PEFT save the adapter")
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"{place} wrote an adapter of the kind {kind}; only LoRA adapters can be used")


def _check_moved(
    now: dict[str, Tensor] | None, former: dict[str, Tensor] | None, before: list[Tensor], after: list[Tensor],
    start: Start,
) -> None:  # fmt: skip
    """Check that a training has changed weights and outputs, and that the outputs are numbers.

    Raises:
        ModelError: nothing has changed, or an output is not finite.
    """
    if now is not None and former is not None and all(torch.equal(now[name], value) for name, value in former.items()):
        what = "the adapter of the step before" if start.tune == "lora" else f"the weights of {start.model}"
        raise ModelError(f"{start.place} wrote {what} unchanged; did it train at all? {{data}} has the rows")
    if not all(bool(torch.isfinite(logits).all()) for logits in after):
        raise ModelError(f"{start.place} wrote finite weights whose outputs are not; lower its learning rate")
    if all(torch.equal(one, other) for one, other in zip(before, after, strict=True)):
        raise ModelError(
            f"{start.place} wrote weights that change no output of the model; did it take any step? {{data}} has the "
            "rows, and an adapter begins with no effect"
        )


@torch.no_grad()
def _outputs(learner: Learner) -> list[Tensor]:
    """Return the logits of a short conversation, and of one about an image for a model with vision, on the CPU."""
    whole = uncut(learner)
    return [whole.model(**batch.inputs, use_cache=False).logits.cpu() for _, batch in conversations(whole)]


def _weights(learner: Learner) -> dict[str, Tensor]:
    """Return the weights of an adapter, on the CPU."""
    return {
        name: value.detach().cpu()
        for name, value in get_peft_model_state_dict(learner.model, save_embedding_layers=False).items()
    }


def _state(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}
