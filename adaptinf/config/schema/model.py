"""Section `model`: the model that keeps learning, and its adapter."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from adaptinf.config.schema.section import Section


def _day(value: object) -> str:
    """Return a day, which YAML reads as a date unless it is in quotes, as text; `auto` stays.

    Raises:
        ValueError: it is neither.
    """
    try:
        return "auto" if value == "auto" else date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise ValueError("must be auto or a day such as 2026-11-28") from error


class LoraConfig(Section):
    """The adapter that training uses; gradient vectors are gradients of its weights."""

    rank: int = Field(default=128, ge=1)
    """Rank of the two factors."""
    alpha: float = Field(default=256, gt=0)
    """Scale: the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input during training; extraction runs without dropout."""
    target_modules: list[str] | None = None
    """Names of the linear layers in the decoder blocks to adapt; null: all of them."""
    exclude_modules: list[str] | None = None
    """Names of linear layers, and of fused experts' weights, that get no adapter; null: none is left out."""
    experts: bool = False
    """Adapt the weights of fused experts too, each expert with its own factors; routers get no adapter."""
    vision: bool = False
    """Adapt the linear layers of the vision tower too, in training; vectors stay those of the decoder blocks."""
    rslora: bool = False
    """Rank-stabilised: the adapter's output is multiplied by alpha / sqrt(rank)."""
    dora: bool = False
    """DoRA: the adapter changes directions, and a vector of magnitudes is trained beside it."""
    pissa: bool = False
    """PiSSA: the factors begin as the largest singular values of each weight, the rest of which stays frozen."""

    @model_validator(mode="after")
    def _kinds_fit(self) -> LoraConfig:
        for is_set, pair, why in (
            (self.experts and self.dora, "experts: true and dora: true", "PEFT has no DoRA for fused experts"),
            (self.experts and self.pissa, "experts: true and pissa: true", "PEFT has no PiSSA for fused experts"),
            (self.experts and self.dropout > 0, "experts: true and dropout", "PEFT has no dropout for fused experts"),
            (self.dora and self.pissa, "dora: true and pissa: true", "its magnitudes would be of weights that move"),
        ):
            if is_set:
                raise ValueError(f"{pair} do not go together: {why}; set one of them")
        return self


class ModelConfig(Section):
    """The model that keeps learning."""

    path: str = ""
    """Folder or hub name of a Hugging Face vision-language or text-only model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights in memory; auto: bfloat16 on a GPU that has it, float32 on a CPU."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed; auto: as transformers chooses; what the model does not support is refused."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Weights of linear layers in memory: as `dtype` says, or 8 bits or 4 (nf4) by bitsandbytes, under an adapter."""
    adapter: str | None = None
    """Folder of a LoRA adapter of this model (PEFT) to go on from; null: none. Its rank, alpha and dropout are used."""
    lora: LoraConfig = LoraConfig()
    """The adapter."""
    projector: Literal["frozen", "trained"] = "frozen"
    """Whether the layer between vision tower and language model is trained (and kept with the adapter)."""
    max_length: int = Field(default=2048, ge=8)
    """Tokens of one sample, images included; longer text is cut on the right, never through an image."""
    date: Annotated[str, BeforeValidator(_day)] = "auto"
    """Day (2026-11-28) that chat templates write which write today's; auto: that of the first step, for all steps."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model folder. Only for sources you trust."""
    device: str = "auto"
    """auto: the GPU if there is one; or cpu, cuda, cuda:1, mps."""

    @model_validator(mode="after")
    def _quantised_weights_are_frozen(self) -> ModelConfig:
        if self.quantization != "none":
            for is_set, name in (
                (self.lora.pissa, "lora.pissa: true"),
                (self.projector == "trained", "projector: trained"),
            ):
                if is_set:
                    raise ValueError(
                        f"quantization: {self.quantization} and {name} do not go together: the weights that would "
                        "change are quantised; set one of them"
                    )
        return self
