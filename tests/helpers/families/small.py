"""Tiny models of random weights, one a family, written as ordinary Hugging Face folders by the test that needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessorPil,
    GPT2Config,
    GPT2LMHeadModel,
    Idefics3Config,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaConfig,
    LlavaProcessor,
)

from scripts.pretrain.blueprint import CHAT_TEMPLATE
from tests.helpers.text_model import byte_tokenizer, write_text_model

SPECIAL = ["<|pad|>", "<|end|>", "<image>", "<|system|>", "<|user|>", "<|assistant|>"]
"""What the demo's chat template writes."""
WIDE = 0.15
"""Spread of the random weights: with the usual 0.02 a tiny model is so undecided that a wrong gradient looks right."""


def text_settings(tokenizer: Any) -> dict[str, Any]:
    """Return a Llama of four blocks."""
    return {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": WIDE,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def write_llava(folder: Path) -> Path:
    """Four image tokens per image, CLIP and Llama, an untied head."""
    tokenizer = byte_tokenizer(SPECIAL, pad_token=SPECIAL[0], eos_token=SPECIAL[1])
    tokenizer.image_token, tokenizer.image_token_id = "<image>", tokenizer.convert_tokens_to_ids("<image>")
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        image_processor=pixels,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 32,
    }
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_settings(tokenizer),
        image_token_index=tokenizer.image_token_id,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    return _written(lambda: AutoModelForImageTextToText.from_config(config), folder)


def write_idefics3(folder: Path) -> Path:
    """Images are cut into tiles, so their tokens depend on their size."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    extra = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *tiles]
    tokenizer = byte_tokenizer([*SPECIAL, *extra], pad_token=SPECIAL[0], eos_token=SPECIAL[1])
    pixels = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    Idefics3Processor(
        image_processor=pixels, tokenizer=tokenizer, image_seq_len=4, chat_template=CHAT_TEMPLATE
    ).save_pretrained(folder)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text_settings(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _written(lambda: AutoModelForImageTextToText.from_config(config), folder)


def write_llama(folder: Path) -> Path:
    """Text only; its template has no generation marks."""
    return write_text_model(folder, num_blocks=4, initializer_range=WIDE)


def write_gpt2(folder: Path) -> Path:
    """Text only; linear layers are Conv1D, with biases and turned weights, and the head is tied."""
    write_text_model(folder)
    tokenizer = byte_tokenizer(["<pad>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>"])
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=4,
        n_head=4,
        n_positions=1024,
        initializer_range=WIDE,
        resid_pdrop=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids("<eos>"),
    )
    return _written(lambda: GPT2LMHeadModel(config), folder)


def _written(make: Callable[[], Any], folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        for name, weight in model.named_parameters():
            # Biases and norms begin at 0 and 1, where a forgotten one would not show.
            if weight.dim() == 1:
                torch.nn.init.normal_(weight, float("norm" in name or "ln_" in name), WIDE)
    model.save_pretrained(folder)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "llava": write_llava,
    "idefics3": write_idefics3,
    "llama": write_llama,
    "gpt2": write_gpt2,
}
"""Family -> who writes it."""
SEEING = ("llava", "idefics3")
"""Families that take images."""
