"""Loading any Hugging Face vision-language model or text-only language model."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import xxhash
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.folders import refuse_other_folder
from adaptinf.models.kernels import check_loaded, load_options
from adaptinf.models.missing import way_out
from adaptinf.models.placement import pick_device, pick_dtype
from adaptinf.models.spread import check_spread, spread_options
from adaptinf.models.template_trial import refuse_endless
from adaptinf.words import one_line

FINGERPRINT_ELEMENTS = 4096
"""Elements of each weight in the fingerprint: training changes all elements, so a subset distinguishes two models."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with its processor and tokenizer."""

    model: Any
    """The torch module; Any, because transformers and PEFT models share no typed base class."""
    processor: Any
    """The processor of a vision-language model, or the tokenizer of a text-only one."""
    tokenizer: Any
    """The tokenizer, with a padding token."""
    has_vision: bool
    """Whether the model accepts images."""
    config: ModelConfig
    """The settings that it was loaded with."""
    begun: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """Name of a factor -> its numbers as PiSSA took them from the weights; empty of other adapters."""

    def __repr__(self) -> str:
        weights = sum(weight.numel() for weight in self.model.parameters())
        kind = "images and text" if self.has_vision else "text only"
        dtype = str(self.model.dtype).removeprefix("torch.")
        name = Path(self.config.path).name
        return f"Learner({name!r}: {type(self.model).__name__}, {weights:,} weights, {kind}, {dtype} on {self.device})"

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any weight, name or shape changes."""
        return _digest(self.model.state_dict())

    @property
    def adapter_fingerprint(self) -> str | None:
        """The fingerprint of the LoRA adapter's weights alone; None for a model without an adapter."""
        adapter = {name: weight for name, weight in self.model.state_dict().items() if "lora_" in name}
        return _digest(adapter) if adapter else None

    def with_model(self, model: Any) -> Learner:
        """Return this learner with another model."""
        return replace(self, model=model)

    def with_config(self, **settings: Any) -> Learner:
        """Return this learner with some settings of its model replaced."""
        return replace(self, config=self.config.model_copy(update=settings))


def _digest(weights: dict[str, Any]) -> str:
    digest = xxhash.xxh3_64()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(sampled(weight).numpy().tobytes())
    return digest.hexdigest()


def sampled(weight: Tensor) -> Tensor:
    """Return evenly chosen numbers of a weight, float32 on the CPU: training changes all of them."""
    flat = weight.detach().reshape(-1)
    stride = max(1, flat.numel() // FINGERPRINT_ELEMENTS)
    return flat[::stride].to("cpu", torch.float32).contiguous()


def load(config: ModelConfig, *, num_gpus: int = 1) -> Learner:
    """Return the model that `config.path` names, in evaluation mode, on its device, or spread over several GPUs.

    Raises:
        ModelError: the model, its processor or its chat template is missing or cannot be loaded, or does not fit into
            the GPUs.
    """
    model_class, reader = class_and_reader(config)
    remote, device = {"trust_remote_code": config.trust_remote_code}, pick_device(config.device)
    own = None if config.quantization == "none" else _load_part("configuration", AutoConfig, config.path, remote)
    options = {**remote, "dtype": pick_dtype(config.dtype, device), **load_options(config, own, device)}
    options |= spread_options(device, num_gpus)
    model = _load_part("model", model_class, config.path, options)
    check_spread(model, config.path, num_gpus)
    check_loaded(config, model)
    _refuse_unknown_ids(reader.tokenizer, embedding_rows(model), config.path)
    decoder_blocks(model)
    return reader.with_model((model if "device_map" in options else model.to(device)).eval())


def load_reader(config: ModelConfig) -> Learner:
    """Return a learner that reads conversations as `load` would, without weights; its model knows its end tokens only.

    Raises:
        ModelError: the processor or its chat template is missing or cannot be loaded.
    """
    return class_and_reader(config)[1]


def class_and_reader(config: ModelConfig) -> tuple[Any, Learner]:
    """Return the class that opens the model, and the learner without weights."""
    if not config.path:
        raise ModelError("model.path is empty; name a Hugging Face folder or hub model")
    refuse_other_folder(config.path)
    remote = {"trust_remote_code": config.trust_remote_code}
    model_config = _load_part("configuration", AutoConfig, config.path, remote)
    _refuse_encoder_decoder(model_config, config.path)
    model_class, has_processor = _model_class(model_config)
    processor = _load_part("processor", AutoProcessor if has_processor else AutoTokenizer, config.path, remote)
    tokenizer = getattr(processor, "tokenizer", processor)
    _prepare_tokenizer(tokenizer, processor, config.path)
    if max(tokenizer.get_vocab().values()) >= (getattr(model_config.get_text_config(), "vocab_size", None) or 0):
        # Rarely: some models have more rows than their configuration says.
        _refuse_unknown_ids(tokenizer, _described_rows(model_class, model_config, remote), config.path)
    has_vision = getattr(processor, "image_processor", None) is not None
    return model_class, Learner(
        model=SimpleNamespace(generation_config=_generation_config(config.path, model_config)),
        processor=processor if has_vision else tokenizer,
        tokenizer=tokenizer,
        has_vision=has_vision,
        config=config,
    )


def _generation_config(path: str, model_config: Any) -> GenerationConfig:
    """Return the settings of generation as the model has them: of their own file, or of the model's configuration."""
    try:
        return GenerationConfig.from_pretrained(path, local_files_only=Path(path).is_dir())
    except (OSError, ValueError):
        return GenerationConfig.from_model_config(model_config)


def _model_class(model_config: Any) -> tuple[Any, bool]:
    """Return the class that opens a model, and whether its text is made by a processor, which may take images too."""
    remote = getattr(model_config, "auto_map", None) or {}
    if type(model_config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or AutoModelForImageTextToText.__name__ in remote:
        return AutoModelForImageTextToText, True
    if type(model_config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        return AutoModelForMultimodalLM, True
    return AutoModelForCausalLM, False


def _refuse_encoder_decoder(model_config: Any, path: str) -> None:
    """Refuse a model whose answers are not the end of the text that it reads.

    Raises:
        ModelError: its decoder reads the answer alone, and its encoder everything else.
    """
    parts = (model_config, model_config.get_text_config())
    if any(getattr(part, "is_encoder_decoder", False) for part in parts):
        raise ModelError(
            f"model.path={path}: {model_config.model_type} is an encoder-decoder, whose answers are not part of the "
            "text that it reads, so it cannot be trained here; choose a model with a decoder only, such as "
            "llava-hf/llava-1.5-7b-hf"
        )


def embedding_rows(model: Any) -> int:
    """Return the number of ids that a model has an embedding of; a layer may hold added tokens in a second table."""
    return sum(len(table) for table in model.get_input_embeddings().parameters() if table.dim() == 2)


def _refuse_unknown_ids(tokenizer: Any, rows: int, path: str) -> None:
    """Refuse a tokenizer with ids that the model has no embedding of: the first such token would end a run.

    Args:
        tokenizer: of the model.
        rows: of its embedding; 0: unknown.
        path: `model.path`.

    Raises:
        ModelError: with the largest id, the rows of the embedding and some of the tokens.
    """
    unknown = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= rows)
    if unknown and rows:
        tokens = ", ".join(repr(token) for _, token in unknown[:3])
        raise ModelError(
            f"model.path={path}: the tokenizer has ids up to {unknown[-1][0]:,}, but the embedding has {rows:,} rows: "
            f"{tokens} cannot be read; resize it (model.resize_token_embeddings({unknown[-1][0] + 1}), then "
            "save_pretrained), or use the tokenizer that the model came with"
        )


def _described_rows(model_class: Any, model_config: Any, remote: dict[str, Any]) -> int:
    """Return the rows of the embedding of a model that is built without weights; 0 where it cannot be built so."""
    model = _described(model_class, model_config, remote)
    return 0 if model is None else embedding_rows(model)


def described(config: ModelConfig) -> Any:
    """Return a model without weights, which knows the names of its parts; None where it cannot be built so.

    Raises:
        ModelError: its configuration cannot be loaded.
    """
    remote = {"trust_remote_code": config.trust_remote_code}
    model_config = _load_part("configuration", AutoConfig, config.path, remote)
    return _described(_model_class(model_config)[0], model_config, remote)


def _described(model_class: Any, model_config: Any, remote: dict[str, Any]) -> Any:
    try:
        with torch.device("meta"):
            return model_class.from_config(model_config, **remote)
    except Exception:  # code of other people, which may need what is in the weights
        return None


def _load_part(what: str, loader: Any, path: str, options: dict[str, Any]) -> Any:
    """Return the result of `from_pretrained`; each of its many kinds of error becomes a ModelError with its cause."""
    local = Path(path).is_dir()
    try:
        return loader.from_pretrained(path, local_files_only=local, **options)
    except Exception as error:  # configurations, pickles and code of other people raise everything
        if _came_from_a_pickle(error):
            # torch advises to read it all the same, which may run code.
            cause = "a pickle of weights is damaged, or holds more than numbers and could run code; get safetensors"
        else:
            cause = one_line(error).rstrip(".")
            cause += way_out(cause)
        raise ModelError(f"model.path={path}: the {what} cannot be loaded: {cause}") from error


def _came_from_a_pickle(error: Exception) -> bool:
    """Tell whether an error was raised while torch read a pickle, which it does with many kinds of error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(frame.f_globals.get("__name__") == torch.serialization.__name__ for frame in frames)


def _prepare_tokenizer(tokenizer: Any, processor: Any, path: str) -> None:
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if template is None:
        raise ModelError(
            f"model.path={path} has no chat template, so conversations cannot be turned into text; "
            "put the chat_template.jinja of its model family into the folder"
        )
    refuse_endless(template, path)
    # A processor does not look at the template of its tokenizer, where many folders have it.
    processor.chat_template = template
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                f"model.path={path}: the tokenizer has neither a padding nor an end token; set its pad_token"
            )
        tokenizer.pad_token = tokenizer.eos_token
