"""LoRA adapters: creating, loading and merging them; and the weights that `tune: full` trains."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from adaptinf.errors import ModelError
from adaptinf.models.blocks import lora_targets
from adaptinf.models.folders import ADAPTER_FILE
from adaptinf.models.loading import Learner
from adaptinf.models.projector import projector_names
from adaptinf.words import one_line

MAX_CAUSE = 500
"""Characters of a reason at most: torch lists every weight that does not fit."""


def begin_adapter(learner: Learner, seed: int) -> Learner:
    """Return the learner with a new adapter on every linear layer of its decoder blocks (A seeded, B = 0).

    Raises:
        ConfigError: `model.lora.target_modules` matches no layer, or `model.projector: trained` and none is found.
    """
    lora = learner.config.lora
    projector = projector_names(learner) if learner.config.projector == "trained" else []
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora_targets(learner.model, lora.target_modules),
        modules_to_save=projector or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return learner.with_model(get_peft_model(learner.model, config).eval())


def load_adapter(learner: Learner, folder: Path) -> Learner:
    """Return the learner with a saved adapter that can be trained further.

    Raises:
        ModelError: the adapter was made for another model, or it cannot be read.
    """
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
    return learner.with_model(model.eval())


def sort_adapter_config(learner: Learner, folder: Path) -> None:
    """Sort the lists in a saved adapter_config.json that are sets in PEFT, whose order differs in every process."""
    config, path = learner.model.active_peft_config, folder / ADAPTER_FILE
    saved = json.loads(path.read_text(encoding="utf-8"))
    of_sets = {key: sorted(value) for key, value in saved.items() if isinstance(getattr(config, key, None), set)}
    path.write_text(json.dumps({**saved, **of_sets}, indent=2, sort_keys=True), encoding="utf-8")


def merge_adapter(learner: Learner) -> Learner:
    """Return the learner with its adapter merged into the weights."""
    return learner.with_model(learner.model.merge_and_unload().eval())


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
