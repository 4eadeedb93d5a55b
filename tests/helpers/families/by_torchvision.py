"""Families whose processors need torchvision."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from tests.helpers.families.by_pillow import COHERE, COHERE_TURNS, PIECES, PINPOINTS, TILES, idefics3_settings
from tests.helpers.families.family import text_settings
from tests.helpers.families.seeing import SQUARE, TOWER, VisionModel, text_part, token_id, tower
from tests.helpers.families.tokenizers import sentence_piece

CHATML = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
QWEN = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


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
        "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "text_config": text_part("qwen2", tokenizer),
        "image_token_index": token_id(tokenizer, "<image>"),
        "video_token_index": token_id(tokenizer, "<video>"),
        "image_grid_pinpoints": PINPOINTS,
        "vision_feature_layer": -1,
    }


def _smolvlm(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    video = transformers.SmolVLMVideoProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 32})
    return transformers.SmolVLMProcessor(pixels, tokenizer, video, image_seq_len=4, chat_template=chat)


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
        "boi_token_index": token_id(tokenizer, "<|image_start|>"),
        "eoi_token_index": token_id(tokenizer, "<|image_end|>"),
        "image_token_index": token_id(tokenizer, "<|patch|>"),
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
        "image_token_id": token_id(tokenizer, "<|image_pad|>"),
        "video_token_id": token_id(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": token_id(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": token_id(tokenizer, "<|vision_end|>"),
    }


ROPE_3D = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
"""Positions in time, height and width, for heads of 8 dims."""
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
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
    "deepstack_visual_indexes": [3],
    "num_position_embeddings": 64,
    "patch_size": 16,
}
QWEN35_TOWER = {name: value for name, value in QWEN3_TOWER.items() if name != "deepstack_visual_indexes"}


def _internvl(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.GotOcr2ImageProcessorPil(size=SQUARE, max_patches=4, crop_to_patches=True)
    video = transformers.InternVLVideoProcessor(size=SQUARE)
    return transformers.InternVLProcessor(pixels, tokenizer, video, image_seq_length=1, chat_template=chat)


def _internvl_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {**TOWER, "image_size": [28, 28], "patch_size": [14, 14]},
        "text_config": text_part("qwen2", tokenizer),
        "image_token_id": token_id(tokenizer, "<IMG_CONTEXT>"),
        "image_seq_length": 1,
    }


def _pixtral(merge: int, tokenizer: Any, chat: str) -> Any:
    pixels = transformers.PixtralImageProcessorPil(size={"longest_edge": 56}, patch_size={"height": 14, "width": 14})
    return transformers.PixtralProcessor(pixels, tokenizer, patch_size=14, spatial_merge_size=merge, chat_template=chat)


def _mistral3_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {"model_type": "pixtral", **TOWER, "image_size": 56},
        "text_config": text_part("mistral", tokenizer, head_dim=8, sliding_window=None),
        "image_token_index": token_id(tokenizer, "[IMG]"),
        "spatial_merge_size": 2,
    }


def _pixtral_settings(tokenizer: Any) -> dict[str, Any]:
    settings = {**_mistral3_settings(tokenizer), "vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    del settings["spatial_merge_size"]
    return settings


def _glm4v(tokenizer: Any, chat: str) -> Any:
    edge = {"shortest_edge": 2 * 28 * 28, "longest_edge": 8 * 28 * 28}
    pixels = transformers.Glm4vImageProcessorPil(size=edge)
    return transformers.Glm4vProcessor(
        pixels, tokenizer, transformers.Glm4vVideoProcessor(size=edge), chat_template=chat
    )


def _glm4v_settings(tokenizer: Any) -> dict[str, Any]:
    names = {"image_start": "<|begin_of_image|>", "image_end": "<|end_of_image|>"}
    names |= {"video_start": "<|begin_of_video|>", "video_end": "<|end_of_video|>"}
    names |= {"image": "<|image|>", "video": "<|video|>"}
    seen = {"depth": 6, "hidden_size": 32, "num_heads": 4, "out_hidden_size": 32, "intermediate_size": 48}
    return {
        "vision_config": {**seen, "image_size": 56, "patch_size": 14},
        "text_config": text_settings(tokenizer, rope_parameters={**ROPE_3D, "partial_rotary_factor": 1.0}),
        **{f"{name}_token_id": token_id(tokenizer, token) for name, token in names.items()},
    }


def _lfm2_vl(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Lfm2VlImageProcessor(
        encoder_patch_size=14,
        tile_size=56,
        min_image_tokens=1,
        max_image_tokens=4,
        max_tiles=4,
        max_num_patches=64,
        size={"height": 56, "width": 56},
    )
    return transformers.Lfm2VlProcessor(pixels, tokenizer, chat_template=chat)


def _lfm2_vl_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": {
            "model_type": "siglip2_vision_model",
            **{name: value for name, value in TOWER.items() if name != "image_size"},
            "num_patches": 16,
            "vision_use_head": False,
        },
        "text_config": text_part("lfm2", tokenizer, layer_types=["conv", "full_attention"] * 2),
        "image_token_id": token_id(tokenizer, "<image>"),
        "projector_hidden_size": 48,
    }


def _gemma4(tokenizer: Any, chat: str) -> Any:
    sizes = {"patch_size": 14, "max_soft_tokens": 70, "pooling_kernel_size": 3}
    return transformers.Gemma4Processor(
        transformers.Gemma4AudioFeatureExtractor(),
        transformers.Gemma4ImageProcessorPil(**sizes),
        tokenizer,
        transformers.Gemma4VideoProcessor(**sizes),
        chat_template=chat,
        image_seq_length=70,
    )


def _gemma4_settings(tokenizer: Any) -> dict[str, Any]:
    text = text_settings(tokenizer, head_dim=8, global_head_dim=8, sliding_window=64, hidden_size_per_layer_input=8)
    layers = ["sliding_attention", "full_attention"] * 2
    seen = {name: value for name, value in TOWER.items() if name != "image_size"}
    return {
        "vision_config": {**seen, "head_dim": 8, "num_key_value_heads": 4, "position_embedding_size": 128},
        "text_config": {**text, "vocab_size_per_layer_input": len(tokenizer), "layer_types": layers},
        "audio_config": None,
        "boi_token_id": token_id(tokenizer, "<|image>"),
        "eoi_token_id": token_id(tokenizer, "<image|>"),
        "image_token_id": token_id(tokenizer, "<|image|>"),
        "video_token_id": token_id(tokenizer, "<|video|>"),
        "audio_token_id": token_id(tokenizer, "<|audio|>"),
    }


def _cohere2_vision(tokenizer: Any, chat: str) -> Any:
    pixels = transformers.Cohere2VisionImageProcessor(size={"height": 56, "width": 56}, max_patches=4, patch_size=2)
    return transformers.Cohere2VisionProcessor(pixels, tokenizer, chat_template=chat)


def _cohere2_vision_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "vision_config": tower("siglip_vision_model", vision_use_head=False, image_size=56),
        "text_config": text_part("cohere2", tokenizer, head_dim=8, sliding_window=64, logit_scale=1.0),
        "image_token_id": token_id(tokenizer, "<|IMG_PATCH|>"),
        "alignment_intermediate_size": 64,
    }


QWEN35 = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
QWEN35_LAYERS = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]

MISTRAL = ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")

BY_TORCHVISION = {
    "llava_onevision": VisionModel(
        chat="llava_onevision",
        kind="llava_onevision",
        processor=_llava_onevision,
        settings=_llava_onevision_settings,
        named=CHATML,
        special=("<|im_start|>",),
        extra={"image_token": "<image>", "video_token": "<video>"},
    ),
    "smolvlm": VisionModel(
        chat="smolvlm",
        kind="smolvlm",
        processor=_smolvlm,
        settings=idefics3_settings,
        named={"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|endoftext|>"},
        special=("<fake_token_around_image>", "<image>", "<global-img>", *TILES),
    ),
    "llama4": VisionModel(
        chat="llama4",
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
    ),
    "qwen2_vl": VisionModel(
        chat="qwen2_vl",
        kind="qwen2_vl",
        processor=partial(_qwen_vl, "Qwen2VL"),
        settings=partial(_qwen_settings, tower=QWEN2_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen2_5_vl": VisionModel(
        chat="qwen2_vl",
        kind="qwen2_5_vl",
        processor=partial(_qwen_vl, "Qwen2_5_VL"),
        settings=partial(_qwen_settings, tower=QWEN25_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3_vl": VisionModel(
        chat="qwen3_vl",
        kind="qwen3_vl",
        processor=partial(_qwen_vl, "Qwen3VL", patch=16),
        settings=partial(_qwen_settings, tower=QWEN3_TOWER),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3_vl_moe": VisionModel(
        chat="qwen3_vl",
        kind="qwen3_vl_moe",
        processor=partial(_qwen_vl, "Qwen3VL", patch=16),
        settings=partial(_qwen_settings, tower=QWEN3_TOWER, **EXPERTS),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "qwen3_5": VisionModel(
        chat="qwen3_vl",
        kind="qwen3_5",
        processor=partial(_qwen_vl, "Qwen3VL", patch=16),
        settings=partial(_qwen_settings, tower=QWEN35_TOWER, layer_types=QWEN35_LAYERS, **QWEN35),
        named=CHATML,
        special=QWEN,
        ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "internvl": VisionModel(
        chat="internvl",
        kind="internvl",
        processor=_internvl,
        settings=_internvl_settings,
        named=CHATML,
        special=("<|im_start|>",),
        extra={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
    "mistral3": VisionModel(
        chat="mistral3",
        kind="mistral3",
        processor=partial(_pixtral, 2),
        settings=_mistral3_settings,
        named=PIECES,
        special=MISTRAL,
    ),
    "pixtral": VisionModel(
        chat="pixtral",
        kind="llava",
        processor=partial(_pixtral, 1),
        settings=_pixtral_settings,
        named=PIECES,
        special=MISTRAL,
    ),
    "glm4v": VisionModel(
        chat="glm4v",
        kind="glm4v",
        processor=_glm4v,
        settings=_glm4v_settings,
        named={"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
        special=(
            "[gMASK]",
            "<sop>",
            "<|system|>",
            "<|user|>",
            "<|assistant|>",
            "<|image|>",
            "<|video|>",
            "<|begin_of_image|>",
            "<|end_of_image|>",
            "<|begin_of_video|>",
            "<|end_of_video|>",
        ),
        ends=("<|endoftext|>", "<|user|>"),
    ),
    "lfm2_vl": VisionModel(
        chat="lfm2_vl",
        kind="lfm2_vl",
        processor=_lfm2_vl,
        settings=_lfm2_vl_settings,
        named={"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"},
        special=(
            "<|im_start|>",
            *(f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)),
        ),
        extra={
            "image_token": "<image>",
            "image_start_token": "<|image_start|>",
            "image_end_token": "<|image_end|>",
            "image_thumbnail_token": "<|img_thumbnail|>",
        },
    ),
    "gemma4": VisionModel(
        chat="gemma4",
        kind="gemma4",
        processor=_gemma4,
        settings=_gemma4_settings,
        tokenizer=sentence_piece,
        named={"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        special=("<|turn>", "<turn|>", "<|video|>"),
        extra={
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
        ends=("<eos>", "<turn|>"),
    ),
    "cohere2_vision": VisionModel(
        chat="cohere2_vision",
        kind="cohere2_vision",
        processor=_cohere2_vision,
        settings=_cohere2_vision_settings,
        named=COHERE,
        special=COHERE_TURNS,
        extra={
            "image_token": "<|IMG_PATCH|>",
            "boi_token": "<|START_OF_IMG|>",
            "eoi_token": "<|END_OF_IMG|>",
            "img_line_break_token": "<|IMG_LINE_BREAK|>",
        },
    ),
}
"""Family -> how its tiny model is made."""
