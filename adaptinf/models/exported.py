"""An adapter as a folder of its own, with the tokenizer and processor of its base; and whether a folder is the model.

PEFT files, tokenizer and processor are copied byte for byte. Only the name of the base model is written anew, as it may
have moved since the adapter was trained. There is no config.json: with one, transformers would look for whole weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import transformers
from peft import PeftModel
from torch import Tensor
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models.asking import Asking
from adaptinf.models.files import adapter_files, files_beside_weights, model_folder
from adaptinf.models.folders import ADAPTER_FILE, json_settings
from adaptinf.models.kernels import check_loaded, load_options
from adaptinf.models.loading import Learner, load, load_reader
from adaptinf.models.memory import release
from adaptinf.models.merged import ROUNDING_OF_MERGING, are_equal, last_logits, trial_prompts
from adaptinf.models.passes import Agreement, agreement, is_same
from adaptinf.models.placement import pick_device, pick_dtype
from adaptinf.models.quiet import quiet_libraries
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.words import one_line, shortened

BASE_KEY = "base_model_name_or_path"
"""Key of an adapter's settings that names its base model."""
PEFT, AUTO = "peft", "transformers"
"""Ways to load an adapter: `PeftModel.from_pretrained`, and `from_pretrained` of an Auto class alone."""
NO_PART_OF_AN_ADAPTER = (CONFIG_NAME, GENERATION_CONFIG_NAME)
"""Files of a base model that do not go beside an adapter."""


@dataclass(frozen=True, kw_only=True)
class AdapterCheck:
    """What loading an exported adapter has shown."""

    agreement: Agreement
    """How near it is to the run's model."""
    ways: tuple[str, ...]
    """The ways of PEFT and AUTO that give the model."""
    failed: str
    """Why AUTO does not; empty where it does."""


def write_adapter(learner: Learner, adapter: Path, out: Path, *, base: str, name: str, commit: str | None) -> None:
    """Write an adapter with the tokenizer and processor of its base model into an existing folder.

    Args:
        learner: the base model, or its reader (`load_reader`).
        adapter: folder of the PEFT adapter.
        out: folder to write into.
        base: folder or hub name of the base model.
        name: what the adapter calls its base model, which programs load it by.
        commit: of the base model on the hub, which PEFT's own Auto classes take; None: not known, or it is a folder.

    Raises:
        ModelError: the base model is gone, or its tokenizer does not work without its weights.
    """
    for file in adapter_files(adapter):
        shutil.copyfile(adapter / file, out / file)
    settings = {**json_settings(adapter / ADAPTER_FILE), BASE_KEY: name, "revision": commit, "inference_mode": True}
    (out / ADAPTER_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    _write_reader(learner, out, base)


def _write_reader(learner: Learner, out: Path, base: str) -> None:
    """Copy tokenizer, processor and templates of a base model; where they do not load alone, they are written anew."""
    folder, _ = model_folder(base)
    if folder is None:
        raise ModelError(f"model.path={base} is no longer there, so its tokenizer cannot be copied; bring it back")
    files = files_beside_weights(folder, runs_code=learner.config.trust_remote_code)
    copied = [file for file in files if file not in NO_PART_OF_AN_ADAPTER]
    for file in copied:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, out / file)
    if _reader_problem(learner, out) is None:
        return
    # Older folders leave it to config.json which class their files are for; files that are written anew name it.
    for file in copied:
        (out / file).unlink()
    with quiet_libraries():
        learner.processor.save_pretrained(out)
    problem = _reader_problem(learner, out)
    if problem is not None:
        raise ModelError(
            f"{out}: the tokenizer of {base} cannot be loaded without its weights ({problem}); add --merge, which "
            "writes the whole model"
        )


def _reader_problem(learner: Learner, out: Path) -> str | None:
    """Return why the tokenizer or processor in a folder is not that of a learner; None: it is."""
    reader_class = transformers.AutoProcessor if learner.has_vision else transformers.AutoTokenizer
    remote = {"trust_remote_code": learner.config.trust_remote_code}
    try:
        with quiet_libraries():
            found = reader_class.from_pretrained(out, local_files_only=True, **remote)
    except Exception as error:  # as many kinds as for a model
        return shortened(one_line(error))
    tokenizer = getattr(found, "tokenizer", found)
    if learner.has_vision and getattr(found, "image_processor", None) is None:
        return "it takes no images"
    found.chat_template = getattr(found, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    tokenizer.pad_token = tokenizer.pad_token or learner.tokenizer.pad_token
    other = replace(learner, processor=found, tokenizer=tokenizer)
    try:
        pairs = zip(trial_prompts(learner), trial_prompts(other), strict=True)
        same = all(are_equal(one, again) for one, again in pairs)
    except (ModelError, ValueError, TypeError, AttributeError) as error:
        return shortened(one_line(error))
    return None if same else "it makes other tokens"


def check_adapter(recipe: LearnerRecipe, out: Path, asking: Asking) -> AdapterCheck:
    """Compare an exported adapter, loaded as its users load it, with the model that the run has tested.

    Models are loaded one after another, as two large ones may not fit.

    Args:
        recipe: how to make the run's model, every adapter merged.
        out: the folder.
        asking: of the model.

    Raises:
        ModelError: with its base model the adapter is another model.
    """
    learner = recipe.make()
    prompts = trial_prompts(learner)
    expected = [last_logits(learner, prompt) for prompt in prompts]
    settings = learner.config
    del learner
    release()
    found = _logits_of(lambda: _with_peft(recipe.model, out), prompts)
    if not _are_same(expected, found):
        raise ModelError(
            f"{out}: the adapter on {settings.path} gives other logits than the model that the run has tested; export "
            "the merged model with --merge"
        )
    try:
        with quiet_libraries():
            again, failed = _logits_of(lambda: _with_auto(recipe.model, out, asking), prompts), ""
    except Exception as error:  # transformers and the code of a model raise everything
        again, failed = [], shortened(one_line(error))
    ways = (PEFT, AUTO) if again and _are_same(expected, again) else (PEFT,)
    why = failed or ("" if AUTO in ways else "it gives other logits")
    return AdapterCheck(agreement=agreement(expected, found), ways=ways, failed=why)


def _are_same(expected: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    return all(is_same(one, other, times=ROUNDING_OF_MERGING) for one, other in zip(expected, found, strict=True))


def _logits_of(make: Callable[[], Learner], prompts: Sequence[dict[str, Tensor]]) -> list[Tensor]:
    """Return the logits of a model that is loaded for them alone."""
    learner = make()
    try:
        return [last_logits(learner, prompt) for prompt in prompts]
    finally:
        del learner
        release()


def _with_peft(model: ModelConfig, out: Path) -> Learner:
    learner = load(model)
    return learner.with_model(PeftModel.from_pretrained(learner.model, out, local_files_only=True).eval())


def _with_auto(model: ModelConfig, out: Path, asking: Asking) -> Learner:
    """Return the model as `from_pretrained` of its Auto class gives it, which loads the base by its name."""
    device = pick_device(model.device)
    # The base model's own configuration is not looked at: it was when the run's model was made.
    options = load_options(model, None, device)
    # Any: an Auto class.
    auto: Any = getattr(transformers, asking.model_class)
    dtype, remote = pick_dtype(model.dtype, device), model.trust_remote_code
    loaded = auto.from_pretrained(out, dtype=dtype, trust_remote_code=remote, **options)
    check_loaded(model, loaded)
    return load_reader(model).with_model((loaded if "device_map" in options else loaded.to(device)).eval())
