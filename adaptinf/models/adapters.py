"""LoRA adapters: creating, loading and merging them; and the weights that `tune: full` trains."""

from __future__ import annotations

import json
import warnings
from dataclasses import fields, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from adaptinf.errors import ConfigError, ModelError
from adaptinf.models.blocks import lora_targets
from adaptinf.models.experts import expert_targets
from adaptinf.models.folders import ADAPTER_FILE, json_settings
from adaptinf.models.kernels import is_quantised
from adaptinf.models.loading import Learner
from adaptinf.models.memory import is_out_of_memory
from adaptinf.models.pissa import factors_of, parted, saved_rank
from adaptinf.models.projector import projector_names
from adaptinf.models.structure import linears_in
from adaptinf.models.vision import vision_linears
from adaptinf.words import one_line, shortened

MAX_CAUSE = 500
"""Characters of a reason at most: torch lists every weight that does not fit."""
SAMPLED = 4096
"""Elements of each weight of the model that are compared before and after an adapter is loaded."""


def begin_adapter(learner: Learner, seed: int) -> Learner:
    """Return the learner with a new adapter on the layers that `model.lora` names (A seeded, B = 0).

    With `pissa` both factors are parts of the weights, which are what is left of them; the model gives the same.

    Raises:
        ConfigError: `model.lora` names layers that are not there, or `model.projector: trained` and none is found.
        ModelError: PEFT refuses the model or the kind of adapter.
    """
    lora = learner.config.lora
    projector = projector_names(learner) if learner.config.projector == "trained" else []
    linears, experts = _linear_targets(learner), _expert_targets(learner)
    try:
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=linears,
            modules_to_save=projector or None,
            use_rslora=lora.rslora,
            use_dora=lora.dora,
            init_lora_weights="pissa" if lora.pissa else True,
            task_type="CAUSAL_LM",
            **({"target_parameters": experts} if experts else {}),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapted = learner.with_model(get_peft_model(learner.model, config).eval())
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:  # what PEFT refuses with
        raise ModelError(
            f"PEFT cannot put the adapter of model.lora on {learner.config.path}: {one_line(error)[:MAX_CAUSE]}; "
            "change model.lora, or update peft"
        ) from error
    return replace(adapted, begun=factors_of(adapted.model)) if lora.pissa else adapted


def _linear_targets(learner: Learner) -> list[str]:
    """Return the full names of the linear layers that get an adapter.

    Raises:
        ConfigError: a list of `model.lora` names none of them, or `vision: true` finds none.
    """
    lora, model = learner.config.lora, learner.model
    targets = lora_targets(model, lora.target_modules, lora.exclude_modules)
    targets += vision_linears(learner) if lora.vision else []
    if lora.exclude_modules:
        every = {name.split(".")[-1] for name in [*lora_targets(model, None), *expert_targets(model, None)]}
        every |= {name.split(".")[-1] for name in linears_in(model)} if lora.vision else set()
        unknown = [name for name in lora.exclude_modules if name not in every]
        if unknown:
            raise ConfigError(
                f"model.lora.exclude_modules: {unknown[0]!r} is no layer that gets an adapter; known: "
                f"{', '.join(sorted(every))}"
            )
    return targets


def _expert_targets(learner: Learner) -> list[str]:
    """Return the full names of the weights of fused experts that get an adapter.

    Raises:
        ConfigError: `model.lora.experts: true`, and there are none.
    """
    lora = learner.config.lora
    if not lora.experts:
        return []
    found = expert_targets(learner.model, lora.exclude_modules)
    if not found:
        raise ConfigError(
            f"model.lora.experts: true, but no fused experts are found in the decoder blocks of {learner.config.path}, "
            "or exclude_modules leaves none; set it to false (experts that are linear layers have adapters as these do)"
        )
    return found


def load_adapter(learner: Learner, folder: Path) -> Learner:
    """Return the learner with a saved adapter that can be trained further.

    Raises:
        ModelError: the adapter was made for another model, it cannot be read, this PEFT does not know a setting of it,
            or it changes the weights that it is beside, as one that began as a part of them does.
    """
    _check_known_settings(folder)
    held = [(weight, weight.flatten()[:SAMPLED].clone()) for weight in learner.model.parameters() if weight.dim() > 1]
    try:
        with warnings.catch_warnings():
            # Weights that find no place would stay as they are drawn, which is only warned about.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            model = PeftModel.from_pretrained(learner.model, folder, is_trainable=True, local_files_only=True)
    except Exception as error:  # as many kinds as for a model
        cause = one_line(error)
        raise ModelError(
            f"the adapter {folder} cannot be loaded onto {learner.config.path}: {cause[:MAX_CAUSE]}; was it trained "
            "on this model?"
        ) from error
    if not all(torch.equal(weight.flatten()[:SAMPLED], first) for weight, first in held):
        how = json_settings(folder / ADAPTER_FILE).get("init_lora_weights")
        raise ModelError(
            f"the adapter {folder} changes the weights of {learner.config.path} when it is loaded "
            f"(init_lora_weights={shortened(str(how))}): it means nothing beside the weights as they are; let its "
            "trainer convert it with save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )
    return learner.with_model(model.eval())


def _check_known_settings(folder: Path) -> None:
    """Check that PEFT knows the settings of an adapter: those of a later version it would leave out.

    Raises:
        ModelError: it does not know one that is set.
    """
    known = {field.name for field in fields(LoraConfig)}
    unknown = [name for name, value in json_settings(folder / ADAPTER_FILE).items() if value and name not in known]
    if unknown:
        raise ModelError(
            f"{folder / ADAPTER_FILE}: the installed PEFT does not know the setting {shortened(unknown[0])!r}, and "
            "would apply the adapter without it; update peft, or let the trainer remove what has no effect"
        )


def continue_adapter(learner: Learner, folder: Path) -> Learner:
    """Return the learner with a saved adapter of this run to go on with; one of PiSSA is parted from the weights again.

    Raises:
        ModelError: as `load_adapter`.
    """
    if learner.config.lora.pissa and saved_rank(folder) == 2 * learner.config.lora.rank:
        begun = begin_adapter(learner.with_config(lora=learner.config.lora.model_copy(update={"pissa": False})), 0)
        return parted(begun, folder)
    return load_adapter(learner, folder)


def sort_adapter_config(learner: Learner, folder: Path) -> None:
    """Sort the lists in a saved adapter_config.json that are sets in PEFT, whose order differs in every process."""
    config, path = learner.model.active_peft_config, folder / ADAPTER_FILE
    saved = json.loads(path.read_text(encoding="utf-8"))
    of_sets = {key: sorted(value) for key, value in saved.items() if isinstance(getattr(config, key, None), set)}
    path.write_text(json.dumps({**saved, **of_sets}, indent=2, sort_keys=True), encoding="utf-8")


def merge_adapter(learner: Learner) -> Learner:
    """Return the learner with its adapter merged into the weights.

    Raises:
        ModelError: the weights are quantised, so that most of the adapter would be rounded away; or PEFT cannot merge
            an adapter of this kind.
    """
    if is_quantised(learner.model):
        raise ModelError(
            f"an adapter cannot be merged into the quantised weights of {learner.config.path}, which would round most "
            "of it away; set model.quantization: none, or name the unquantised model"
        )
    try:
        return learner.with_model(learner.model.merge_and_unload().eval())
    except (RuntimeError, ValueError, NotImplementedError) as error:  # what PEFT refuses with
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"an adapter cannot be merged into the weights of {learner.config.path}: {one_line(error)[:MAX_CAUSE]}; "
            "train another kind of adapter"
        ) from error


def unfreeze_all(learner: Learner) -> None:
    """Make the language model and the projector trainable and freeze all other weights (vision tower), in place.

    Raises:
        ConfigError: the projector of a vision-language model is not found.
    """
    trained = {id(weight) for weight in learner.model.get_decoder().parameters()}
    for module in (learner.model.get_output_embeddings(), learner.model.get_input_embeddings()):
        trained |= {id(weight) for weight in module.parameters()}
    for name in projector_names(learner):
        trained |= {id(weight) for weight in learner.model.get_submodule(name).parameters()}
    for weight in learner.model.parameters():
        weight.requires_grad_(id(weight) in trained)
