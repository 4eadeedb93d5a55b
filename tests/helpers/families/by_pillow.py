"""Families that take images and whose processors work by Pillow."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from tests.helpers.families.family import text_settings
from tests.helpers.families.seeing import SQUARE, TOWER, VisionModel, text_part, token_id, tower
from tests.helpers.families.tokenizers import sentence_piece

CLIP_PIXELS = {"size": {"shortest_edge": 28}, "crop_size": SQUARE}
LLAVA = {"vision_feature_select_strategy": "default", "patch_size": 14, "num_additional_image_tokens": 1}
PIECES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
LLAMA3 = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|finetune_right_pad_id|>"}
HEADERS = ("<|start_header_id|>", "<|end_header_id|>")


def _llava15(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.CLIPImageProcessorPil(**CLIP_PIXELS)
    return transformers.LlavaProcessor(pixels, tokenizer, chat_template=chat, **LLAVA)


def _llava15_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": tower(),
        "text_config": text_part("llama", tokenizer),
        "image_token_index": token_id(tokenizer, "<image>"),
        "image_seq_length": 4,
        "vision_feature_layer": -2,
    }


PINPOINTS = [[28, 56], [56, 28], [56, 56]]


def _llava_next(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.LlavaNextImageProcessorPil(image_grid_pinpoints=PINPOINTS, **CLIP_PIXELS)
    return transformers.LlavaNextProcessor(pixels, tokenizer, chat_template=chat, **LLAVA)


def _llava_next_settings(tokenizer: Any) -> dict[str, Any]:
    text = text_part("mistral", tokenizer, sliding_window=None)
    return {**_llava15_settings(tokenizer), "text_config": text, "image_grid_pinpoints": PINPOINTS}


def _idefics2(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Idefics2ImageProcessorPil(size={"shortest_edge": 28, "longest_edge": 56})
    return transformers.Idefics2Processor(pixels, tokenizer, image_seq_len=3, chat_template=chat)


def _idefics2_settings(tokenizer: Any) -> dict[str, Any]:
    resampler = {"hidden_size": 32, "resampler_n_latents": 3, "resampler_depth": 2, "resampler_n_heads": 4}
    return {
        "vision_config": {**TOWER, "image_size": 56},
        "text_config": text_part("mistral", tokenizer, sliding_window=None),
        "perceiver_config": {**resampler, "resampler_head_dim": 8, "num_key_value_heads": 2},
        "image_token_id": token_id(tokenizer, "<image>"),
        "pad_token_id": tokenizer.pad_token_id,
    }


def _idefics3(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    return transformers.Idefics3Processor(pixels, tokenizer, image_seq_len=4, chat_template=chat)


def idefics3_settings(tokenizer: Any) -> dict[str, Any]:
    """Return what a model of Idefics 3 or of SmolVLM is made of."""
    return {
        "vision_config": {**TOWER, "image_size": 32, "patch_size": 8},
        "text_config": text_part("llama", tokenizer),
        "image_token_id": token_id(tokenizer, "<image>"),
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
        "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "text_config": text_part("gemma", tokenizer, head_dim=8),
        "image_token_index": token_id(tokenizer, "<image>"),
        "vocab_size": len(tokenizer),
        "projection_dim": 32,
        "hidden_size": 32,
    }


def _gemma3(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Gemma3ImageProcessorPil(size=SQUARE)
    return transformers.Gemma3Processor(pixels, tokenizer, chat_template=chat, image_seq_length=4)


def _gemma3_settings(tokenizer: Any) -> dict[str, Any]:
    text = text_part("gemma3_text", tokenizer, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    return {
        "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "text_config": text,
        "mm_tokens_per_image": 4,
        "boi_token_index": token_id(tokenizer, "<start_of_image>"),
        "eoi_token_index": token_id(tokenizer, "<end_of_image>"),
        "image_token_index": token_id(tokenizer, "<image_soft_token>"),
    }


def _mllama(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.MllamaImageProcessorPil(size=SQUARE, max_image_tiles=4)
    return transformers.MllamaProcessor(pixels, tokenizer, chat_template=chat)


def _mllama_settings(tokenizer: Any) -> dict[str, Any]:
    tower = {**TOWER, "num_global_layers": 2, "intermediate_layers_indices": [1, 3], "vision_output_dim": 96}
    text = text_settings(tokenizer, cross_attention_layers=[1])
    # Its embedding has eight rows more than its head, for the image token.
    text["vocab_size"] = token_id(tokenizer, "<|image|>")
    return {"vision_config": tower, "text_config": text, "image_token_index": token_id(tokenizer, "<|image|>")}


def _aya_vision(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.GotOcr2ImageProcessorPil(size=SQUARE, max_patches=4, crop_to_patches=True)
    return transformers.AyaVisionProcessor(
        pixels, tokenizer, patch_size=14, img_size=28, downsample_factor=2, chat_template=chat
    )


def _aya_vision_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "text_config": text_part("cohere2", tokenizer, head_dim=8, sliding_window=64, logit_scale=1.0),
        "downsample_factor": 2,
        "image_token_index": token_id(tokenizer, "<|IMG_PATCH|>"),
    }


def _janus(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.JanusImageProcessorPil(size=SQUARE)
    return transformers.JanusProcessor(pixels, tokenizer, chat_template=chat, num_image_tokens=4)


def _janus_settings(tokenizer: Any) -> dict[str, Any]:
    seen = {**TOWER, "mlp_ratio": 2, "projection_dim": 32, "depth": 2, "num_image_tokens": 4}
    drawn: dict[str, Any] = {
        "embed_dim": 8,
        "num_embeddings": 32,
        "latent_channels": 32,
        "base_channels": 32,
        "num_res_blocks": 1,
    }
    drawn |= {"channel_multiplier": [1, 1], "num_patches": 2, "projection_dim": 32, "image_token_embed_dim": 32}
    return {
        "vision_config": seen,
        "vq_config": drawn,
        "text_config": text_part("llama", tokenizer),
        "image_token_id": token_id(tokenizer, "<image_placeholder>"),
    }


def _deepseek_vl(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.DeepseekVLImageProcessorPil(size=SQUARE)
    return transformers.DeepseekVLProcessor(pixels, tokenizer, chat_template=chat, num_image_tokens=4)


def _deepseek_vl_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "text_config": text_part("llama", tokenizer),
        "image_token_id": token_id(tokenizer, "<image_placeholder>"),
    }


def _ovis2(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Ovis2ImageProcessorPil(size=SQUARE, crop_to_patches=True, max_patches=4)
    return transformers.Ovis2Processor(pixels, tokenizer, chat_template=chat, image_seq_length=4)


def _ovis2_settings(tokenizer: Any) -> dict[str, Any]:
    indicators = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    return {
        "vision_config": {**TOWER, "vocab_size": 64, "num_visual_indicator_tokens": 5},
        "text_config": text_part("qwen2", tokenizer),
        "image_token_id": token_id(tokenizer, "<IMG_ATOM>"),
        "visual_indicator_token_ids": [token_id(tokenizer, token) for token in indicators],
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
    }


COHERE = {"bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "pad_token": "<PAD>"}
COHERE_TURNS = (
    "<|START_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
)
DEEPSEEK = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>", "pad_token": "<｜▁pad▁｜>"}


BY_PILLOW = {
    "llava15": VisionModel(
        chat="llava15",
        kind="llava",
        processor=_llava15,
        settings=_llava15_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        extra={"image_token": "<image>"},
    ),
    "llava_next": VisionModel(
        chat="llava_next",
        kind="llava_next",
        processor=_llava_next,
        settings=_llava_next_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        extra={"image_token": "<image>"},
    ),
    "idefics2": VisionModel(
        chat="idefics2",
        kind="idefics2",
        processor=_idefics2,
        settings=_idefics2_settings,
        tokenizer=partial(sentence_piece, leading_blank=True),
        named={**PIECES, "pad_token": "<unk>"},
        special=("<fake_token_around_image>", "<image>", "<end_of_utterance>"),
        ends=("</s>", "<end_of_utterance>"),
    ),
    "idefics3": VisionModel(
        chat="idefics3",
        kind="idefics3",
        processor=_idefics3,
        settings=idefics3_settings,
        named={**LLAMA3, "eos_token": "<|end_of_text|>"},
        special=("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *TILES),
        ends=("<|end_of_text|>", "<end_of_utterance>"),
    ),
    "paligemma": VisionModel(
        chat="paligemma",
        kind="paligemma",
        processor=_paligemma,
        settings=_paligemma_settings,
        tokenizer=sentence_piece,
        named={"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        extra={"image_token": "<image>"},
    ),
    "gemma3": VisionModel(
        chat="gemma3",
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
        chat="mllama",
        kind="mllama",
        processor=_mllama,
        settings=_mllama_settings,
        named=LLAMA3,
        special=(*HEADERS, "<|python_tag|>", "<|image|>"),
    ),
    "aya_vision": VisionModel(
        chat="aya_vision",
        kind="aya_vision",
        processor=_aya_vision,
        settings=_aya_vision_settings,
        named=COHERE,
        special=(
            *COHERE_TURNS,
            "<image>",
            "<|START_OF_IMG|>",
            "<|END_OF_IMG|>",
            "<|IMG_PATCH|>",
            "<|IMG_LINE_BREAK|>",
            "TILE_GLOBAL",
            *(f"TILE_{number}" for number in range(1, 5)),
            "TILE",
        ),
    ),
    "janus": VisionModel(
        chat="janus",
        kind="janus",
        processor=_janus,
        settings=_janus_settings,
        named=DEEPSEEK,
        special=("<|User|>", "<|Assistant|>"),
        extra={"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"},
    ),
    "deepseek_vl": VisionModel(
        chat="deepseek_vl",
        kind="deepseek_vl",
        processor=_deepseek_vl,
        settings=_deepseek_vl_settings,
        named=DEEPSEEK,
        extra={"image_token": "<image_placeholder>"},
    ),
    "ovis2": VisionModel(
        chat="ovis2",
        kind="ovis2",
        processor=_ovis2,
        settings=_ovis2_settings,
        named={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        special=(
            "<|im_start|>",
            "<image>",
            "<IMG_ATOM>",
            "<IMG_START>",
            "<IMG_GRID>",
            "<IMG_COL>",
            "<IMG_ROW>",
            "<IMG_END>",
        ),
    ),
}
"""Family -> how its tiny model is made."""
