"""Families that take images; every vision tower has more layers than its language model has blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import transformers

from tests.helpers.families.family import Family, template, text_settings, write_weights
from tests.helpers.families.tokenizers import byte_level, sentence_piece

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
"""A vision tower of four tokens per image of 28 x 28 pixels."""
SQUARE = {"height": 28, "width": 28}
ROPE_3D = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
"""Positions in time, height and width, for heads of 8 dims."""


@dataclass(frozen=True, kw_only=True)
class VisionModel:
    """How the tiny model of a family that takes images is made."""

    kind: str
    """The `model_type` of its configuration."""
    processor: Callable[[Any, str], Any]
    """(Tokenizer, chat template) -> its processor."""
    settings: Callable[[Any], dict[str, Any]]
    """Tokenizer -> what its configuration is made of."""
    tokenizer: Callable[..., Any] = byte_level
    """The style of its tokenizer."""
    named: dict[str, str] = field(default_factory=dict)
    """Its special tokens by their use."""
    extra: dict[str, str] = field(default_factory=dict)
    """Special tokens that its processor looks for as attributes of the tokenizer."""
    special: tuple[str, ...] = ()
    """Its other special tokens."""
    ends: tuple[str, ...] = ()
    """The end tokens of its generation settings, if there are several."""
    needs: tuple[str, ...] = ()
    """Packages without which its processor cannot be made."""
    refused: str | None = None
    """A part of the message with which it is refused."""

    def write(self, chat: str, folder: Path) -> Path:
        """Write the model and its processor with one chat template."""
        extra = {"extra_special_tokens": self.extra} if self.extra else {}
        tokenizer = self.tokenizer([*self.special, *self.extra.values()], **self.named, **extra)
        self.processor(tokenizer, template(chat)).save_pretrained(folder)
        # Some processors add tokens of their own.
        config = transformers.AutoConfig.for_model(self.kind, **self.settings(tokenizer))
        ends = tuple(tokenizer.convert_tokens_to_ids(list(self.ends)))
        make = partial(transformers.AutoModelForImageTextToText.from_config, config)
        return write_weights(make, folder, ends=ends)


def _id(tokenizer: Any, token: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(token))


def _text(kind: str, tokenizer: Any, **own: Any) -> dict[str, Any]:
    return {"model_type": kind, **text_settings(tokenizer, **own)}


def _clip(kind: str = "clip_vision_model") -> dict[str, Any]:
    return {"model_type": kind, "projection_dim": 32, **TOWER}


CLIP_PIXELS = {"size": {"shortest_edge": 28}, "crop_size": SQUARE}
LLAVA = {"vision_feature_select_strategy": "default", "patch_size": 14, "num_additional_image_tokens": 1}
PIECES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
CHATML = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
LLAMA3 = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>"}
HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
QWEN = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def _llava15(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.CLIPImageProcessorPil(**CLIP_PIXELS)
    return transformers.LlavaProcessor(pixels, tokenizer, chat_template=chat, **LLAVA)


def _llava15_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": _clip(),
        "text_config": _text("llama", tokenizer),
        "image_token_index": _id(tokenizer, "<image>"),
        "image_seq_length": 4,
        "vision_feature_layer": -2,
    }


PINPOINTS = [[28, 56], [56, 28], [56, 56]]


def _llava_next(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.LlavaNextImageProcessorPil(image_grid_pinpoints=PINPOINTS, **CLIP_PIXELS)
    return transformers.LlavaNextProcessor(pixels, tokenizer, chat_template=chat, **LLAVA)


def _llava_next_settings(tokenizer: Any) -> dict[str, Any]:
    text = _text("mistral", tokenizer, sliding_window=None)
    return {**_llava15_settings(tokenizer), "text_config": text, "image_grid_pinpoints": PINPOINTS}


def _llava_onevision(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.LlavaOnevisionImageProcessorPil(image_grid_pinpoints=PINPOINTS, size=SQUARE)
    return transformers.LlavaOnevisionProcessor(
        pixels,
        tokenizer,
        transformers.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=chat,
    )


def _llava_onevision_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {**_clip("siglip_vision_model"), "vision_use_head": False},
        "text_config": _text("qwen2", tokenizer),
        "image_token_index": _id(tokenizer, "<image>"),
        "video_token_index": _id(tokenizer, "<video>"),
        "image_grid_pinpoints": PINPOINTS,
        "vision_feature_layer": -1,
    }


def _idefics2(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Idefics2ImageProcessorPil(size={"shortest_edge": 28, "longest_edge": 56})
    return transformers.Idefics2Processor(pixels, tokenizer, image_seq_len=3, chat_template=chat)


def _idefics2_settings(tokenizer: Any) -> dict[str, Any]:
    resampler = {"hidden_size": 32, "resampler_n_latents": 3, "resampler_depth": 2, "resampler_n_heads": 4}
    return {
        "vision_config": {**TOWER, "image_size": 56},
        "text_config": _text("mistral", tokenizer, sliding_window=None),
        "perceiver_config": {**resampler, "resampler_head_dim": 8, "num_key_value_heads": 2},
        "image_token_id": _id(tokenizer, "<image>"),
        "pad_token_id": tokenizer.pad_token_id,
    }


def _idefics3(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    return transformers.Idefics3Processor(pixels, tokenizer, image_seq_len=4, chat_template=chat)


def _smolvlm(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    video = transformers.SmolVLMVideoProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    return transformers.SmolVLMProcessor(pixels, tokenizer, video, image_seq_len=4, chat_template=chat)


def _idefics3_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {**TOWER, "image_size": 32, "patch_size": 8},
        "text_config": _text("llama", tokenizer),
        "image_token_id": _id(tokenizer, "<image>"),
        "scale_factor": 2,
        "pad_token_id": tokenizer.pad_token_id,
    }


TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5))


def _paligemma(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.SiglipImageProcessorPil(size=SQUARE)
    pixels.image_seq_length = 4
    return transformers.PaliGemmaProcessor(pixels, tokenizer, chat_template=chat)


def _paligemma_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {**_clip("siglip_vision_model"), "vision_use_head": False},
        "text_config": _text("gemma", tokenizer, head_dim=8),
        "image_token_index": _id(tokenizer, "<image>"),
        "vocab_size": len(tokenizer),
        "projection_dim": 32,
        "hidden_size": 32,
    }


def _gemma3(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Gemma3ImageProcessorPil(size=SQUARE)
    return transformers.Gemma3Processor(pixels, tokenizer, chat_template=chat, image_seq_length=4)


def _gemma3_settings(tokenizer: Any) -> dict[str, Any]:
    text = _text("gemma3_text", tokenizer, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    return {
        "vision_config": {**_clip("siglip_vision_model"), "vision_use_head": False},
        "text_config": text,
        "mm_tokens_per_image": 4,
        "boi_token_index": _id(tokenizer, "<start_of_image>"),
        "eoi_token_index": _id(tokenizer, "<end_of_image>"),
        "image_token_index": _id(tokenizer, "<image_soft_token>"),
    }


def _mllama(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.MllamaImageProcessorPil(size=SQUARE, max_image_tiles=4)
    return transformers.MllamaProcessor(pixels, tokenizer, chat_template=chat)


def _mllama_settings(tokenizer: Any) -> dict[str, Any]:
    tower = {**TOWER, "num_global_layers": 2, "intermediate_layers_indices": [1, 3], "vision_output_dim": 96}
    text = text_settings(tokenizer, cross_attention_layers=[1, 3])
    # Its embedding has eight rows more than its head, for the image token.
    text["vocab_size"] = _id(tokenizer, "<|image|>")
    return {"vision_config": tower, "text_config": text, "image_token_index": _id(tokenizer, "<|image|>")}


def _llama4(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Llama4ImageProcessor(size={"height": 56, "width": 56}, max_patches=4)
    return transformers.Llama4Processor(
        pixels, tokenizer, patch_size=14, pixel_shuffle_ratio=0.5, image_token="<|image|>", chat_template=chat
    )


def _llama4_settings(tokenizer: Any) -> dict[str, Any]:
    tower = {**TOWER, "image_size": 56, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32}
    text = text_settings(tokenizer, head_dim=8, intermediate_size_mlp=48, num_local_experts=6, attention_chunk_size=64)
    return {
        "vision_config": {**tower, "intermediate_size": 128},
        "text_config": {**text, "interleave_moe_layer_step": 2},
        "boi_token_index": _id(tokenizer, "<|image_start|>"),
        "eoi_token_index": _id(tokenizer, "<|image_end|>"),
        "image_token_index": _id(tokenizer, "<|patch|>"),
    }


def _qwen_vl(name: str, tokenizer: Any, chat: str, *, patch: int = 14) -> Any:
    edge = {"shortest_edge": 4 * patch * patch, "longest_edge": 16 * patch * patch}
    pixels = transformers.Qwen2VLImageProcessorPil(size=edge, patch_size=patch)
    videos = "Qwen3VLVideoProcessor" if name == "Qwen3VL" else "Qwen2VLVideoProcessor"
    video = getattr(transformers, videos)(size=edge, patch_size=patch)
    return getattr(transformers, f"{name}Processor")(pixels, tokenizer, video, chat_template=chat)


def _qwen_settings(tokenizer: Any, *, tower: dict[str, Any], **own: Any) -> dict[str, Any]:
    text = text_settings(tokenizer, rope_parameters=ROPE_3D, head_dim=8, **own)
    return {
        "vision_config": {"depth": 6, "num_heads": 4, "spatial_merge_size": 2, **tower},
        "text_config": text,
        "image_token_id": _id(tokenizer, "<|image_pad|>"),
        "video_token_id": _id(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": _id(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": _id(tokenizer, "<|vision_end|>"),
    }


QWEN2_TOWER = {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "patch_size": 14}
QWEN25_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 32,
    "fullatt_block_indexes": [2, 5],
    "window_size": 56,
    "patch_size": 14,
}
QWEN3_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 32,
    "deepstack_visual_indexes": [1, 3],
    "num_position_embeddings": 64,
    "patch_size": 16,
}

MODELS = {
    "llava15": VisionModel(
        kind="llava",
        processor=_llava15,
        settings=_llava15_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        extra={"image_token": "<image>"},
    ),
    "llava_next": VisionModel(
        kind="llava_next",
        processor=_llava_next,
        settings=_llava_next_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        extra={"image_token": "<image>"},
    ),
    "llava_onevision": VisionModel(
        kind="llava_onevision",
        processor=_llava_onevision,
        settings=_llava_onevision_settings,
        named=CHATML,
        special=("<|im_start|>",),
        extra={"image_token": "<image>", "video_token": "<video>"},
        needs=("torchvision",),
    ),
    "idefics2": VisionModel(
        kind="idefics2",
        processor=_idefics2,
        settings=_idefics2_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named={**PIECES, "pad_token": "<unk>"},
        special=("<fake_token_around_image>", "<image>", "<end_of_utterance>"),
        ends=("</s>", "<end_of_utterance>"),
    ),
    "idefics3": VisionModel(
        kind="idefics3",
        processor=_idefics3,
        settings=_idefics3_settings,
        named={**LLAMA3, "eos_token": "<|end_of_text|>"},
        special=("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *TILES),
        ends=("<|end_of_text|>", "<end_of_utterance>"),
    ),
    "smolvlm": VisionModel(
        kind="smolvlm",
        processor=_smolvlm,
        settings=_idefics3_settings,
        named={"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|endoftext|>"},
        special=("<fake_token_around_image>", "<image>", "<global-img>", *TILES),
        needs=("torchvision", "num2words"),
    ),
    "paligemma": VisionModel(
        kind="paligemma",
        processor=_paligemma,
        settings=_paligemma_settings,
        tokenizer=sentence_piece,
        named={"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        extra={"image_token": "<image>"},
    ),
    "gemma3": VisionModel(
        kind="gemma3",
        processor=_gemma3,
        settings=_gemma3_settings,
        tokenizer=sentence_piece,
        named={"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        special=("<start_of_turn>", "<end_of_turn>"),
        extra={"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
        ends=("<eos>", "<end_of_turn>"),
    ),
    "mllama": VisionModel(
        kind="mllama",
        processor=_mllama,
        settings=_mllama_settings,
        named=LLAMA3,
        special=(*HEADERS, "<|python_tag|>", "<|image|>"),
    ),
    "llama4": VisionModel(
        kind="llama4",
        processor=_llama4,
        settings=_llama4_settings,
        named={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot|>", "pad_token": "<|finetune_right_pad|>"},
        special=(
            "<|header_start|>",
            "<|header_end|>",
            "<|image_start|>",
            "<|image_end|>",
            "<|image|>",
            "<|patch|>",
            "<|tile_x_separator|>",
            "<|tile_y_separator|>",
        ),
        needs=("torchvision",),
    ),
    "qwen2_vl": VisionModel(
        kind="qwen2_vl",
        processor=partial(_qwen_vl, "Qwen2VL"),
        settings=partial(_qwen_settings, tower=QWEN2_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
        needs=("torchvision",),
    ),
    "qwen2_5_vl": VisionModel(
        kind="qwen2_5_vl",
        processor=partial(_qwen_vl, "Qwen2_5_VL"),
        settings=partial(_qwen_settings, tower=QWEN25_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
        needs=("torchvision",),
    ),
    "qwen3_vl": VisionModel(
        kind="qwen3_vl",
        processor=partial(_qwen_vl, "Qwen3VL", patch=16),
        settings=partial(_qwen_settings, tower=QWEN3_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
        needs=("torchvision",),
    ),
}
"""Family -> how its tiny model is made."""
CHATS = {"qwen2_5_vl": "qwen2_vl"}
"""Family -> the name of its chat template, where it is another's."""

VISION_FAMILIES = {
    name: Family(
        write=partial(model.write, CHATS.get(name, name)), has_vision=True, needs=model.needs, refused=model.refused
    )
    for name, model in MODELS.items()
}
"""Families that take images."""
