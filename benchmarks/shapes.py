"""Models with random weights, and samples for them, by shape, to measure extraction with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.data import Block, Message, Sample
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.loading import Learner
from adaptinf.models.placement import pick_device
from scripts.pretrain.blueprint import CHAT_TEMPLATE, END, IMAGE, PAD, SPECIAL


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model and its samples."""

    num_samples: int
    """Number of samples that are measured."""
    shortest: int
    """Smallest number of tokens of a sample, images included."""
    longest: int
    """Largest number of tokens of a sample."""
    answer: int
    """Mean number of tokens of an answer."""
    layers: int
    """Number of decoder blocks."""
    width: int
    """Hidden size."""
    inner: int
    """Width of the feed-forward layers."""
    heads: int
    """Number of attention heads."""
    vocabulary: int
    """Number of entries of the output head."""
    rank: int
    """Rank of the adapter."""
    dim: int
    """Length of the vectors."""
    image_size: int
    """Pixels per side of an image."""
    patch: int
    """Pixels per side of a patch."""
    tower: dict[str, int]
    """Settings of the vision tower."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights."""

    @property
    def image_tokens(self) -> int:
        """Number of tokens of an image."""
        return (self.image_size // self.patch) ** 2


CPU_MEDIUM = Shape(
    num_samples=160, shortest=165, longest=245, answer=25, layers=12, width=384, inner=1024, heads=6, vocabulary=32064,
    rank=32, dim=8192, image_size=96, patch=8,
    tower={"hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4},
)  # fmt: skip

SHAPES = {
    "tiny": Shape(
        num_samples=64, shortest=40, longest=90, answer=10, layers=4, width=64, inner=128, heads=4, vocabulary=512,
        rank=8, dim=512, image_size=32, patch=8,
        tower={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    # LLaVA's own vocabulary; in so narrow a model, a head that computes all logits takes much of the time.
    "cpu-medium": CPU_MEDIUM,
    # The head has 3 % of the language model's weights, as in models with billions of parameters.
    "cpu-medium-small-head": replace(CPU_MEDIUM, vocabulary=2048),
    "llava-7b": Shape(
        num_samples=512, shortest=700, longest=850, answer=80, layers=32, width=4096, inner=11008, heads=32,
        vocabulary=32064, rank=128, dim=8192, image_size=336, patch=14, dtype="bfloat16",
        tower={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    ),
}  # fmt: skip


def tokenizer() -> Any:
    """Return a tokenizer for which every byte is a token, so that lengths can be chosen."""
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bytes_only = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, pad_token=PAD, eos_token=END, extra_special_tokens={"image_token": IMAGE}
    )


def learner(shape: Shape, *, has_vision: bool, adapted: bool) -> Learner:
    """Return a LLaVA with random weights, or its text-only twin; `adapted` adds an adapter whose B is not zero."""
    words, device = tokenizer(), pick_device("auto")
    config = ModelConfig(
        path="random weights", dtype=shape.dtype, max_length=8192, lora=LoraConfig(rank=shape.rank, alpha=shape.rank)
    )
    text = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=8192,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, shape.dtype))
    with torch.device(device):
        model = LlavaForConditionalGeneration(_llava(shape, text, words)) if has_vision else LlamaForCausalLM(text)
    torch.set_default_dtype(torch.float32)
    words.chat_template = CHAT_TEMPLATE
    processor = _processor(shape, words) if has_vision else words
    made = Learner(model=model.eval(), processor=processor, tokenizer=words, has_vision=has_vision, config=config)
    return _with_adapter(made) if adapted else made


def _llava(shape: Shape, text: LlamaConfig, words: Any) -> LlavaConfig:
    vision = {
        "model_type": "clip_vision_model",
        "image_size": shape.image_size,
        "patch_size": shape.patch,
        "projection_dim": shape.tower["hidden_size"],
        **shape.tower,
    }
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids(IMAGE),
        image_seq_length=shape.image_tokens,
    )


def _processor(shape: Shape, words: Any) -> LlavaProcessor:
    side = {"height": shape.image_size, "width": shape.image_size}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": shape.image_size}, crop_size=side),
        tokenizer=words,
        patch_size=shape.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def _with_adapter(plain: Learner) -> Learner:
    adapted = begin_adapter(plain, seed=1)
    with torch.no_grad():
        for name, weight in adapted.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    return adapted


def samples(shape: Shape, *, has_vision: bool) -> list[Sample]:
    """Return one-turn conversations of random letters, each with its own image if the model has vision."""
    rng = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp())
    found = []
    for number in range(shape.num_samples):
        answer = max(1, int(rng.poisson(shape.answer)))
        # Role marks and end tokens: <|user|> ... <|end|><|assistant|> ... <|end|>
        total = int(rng.integers(shape.shortest, shape.longest + 1)) - 4
        question = max(1, total - answer - (shape.image_tokens if has_vision else 0))
        images: tuple[Path, ...] = ()
        if has_vision:
            images = (folder / f"{number}.jpg",)
            size = (shape.image_size, shape.image_size, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(images[0])
        blocks: list[Block] = [Block(type="image", text=None)] if has_vision else []
        found.append(
            Sample(
                id=f"benchmark/{number:05d}",
                source="benchmark",
                messages=(
                    Message(role="user", content=[*blocks, Block(type="text", text=_letters(rng, question))]),
                    Message(role="assistant", content=[Block(type="text", text=_letters(rng, answer))]),
                ),
                images=images,
            )
        )
    return found


def _letters(rng: np.random.Generator, count: int) -> str:
    return bytes(rng.integers(97, 123, count, dtype=np.uint8)).decode()
