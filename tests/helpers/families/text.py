"""Families of language models without images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.helpers.families.family import template, text_settings, write_weights
from tests.helpers.families.tokenizers import byte_level, sentence_piece


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """How a text-only family's tiny model is made."""

    kind: str
    """The `model_type` of its configuration."""
    chat: str
    """The name of its chat template."""
    tokenizer: Callable[..., Any] = byte_level
    """The style of its tokenizer."""
    named: dict[str, str] = field(default_factory=dict)
    """Its special tokens by their use."""
    special: tuple[str, ...] = ()
    """Its other special tokens."""
    ends: tuple[str, ...] = ()
    """The end tokens of its generation settings, if there are several."""
    own: dict[str, Any] = field(default_factory=dict)
    """Settings of this family."""

    def write(self, folder: Path) -> Path:
        """Write the model and its tokenizer."""
        from transformers import AutoConfig, AutoModelForCausalLM

        tokenizer = self.tokenizer(list(self.special), **self.named)
        tokenizer.chat_template = template(self.chat)
        tokenizer.save_pretrained(folder)
        config = AutoConfig.for_model(self.kind, **text_settings(tokenizer, **self.own))
        ends = tuple(tokenizer.convert_tokens_to_ids(list(self.ends)))
        return write_weights(lambda: AutoModelForCausalLM.from_config(config), folder, ends=ends)


CHATML = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
"""Qwen's named tokens."""
SPECIAL_OF_CHATML = ("<|im_start|>",)
PIECES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
"""Llama 1's and Mistral's named tokens."""
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
TURNS = ("<start_of_turn>", "<end_of_turn>")
END_OF_TEXT = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
chatml = partial(TextModel, named=CHATML, special=SPECIAL_OF_CHATML)

TEXT = {
    "llama3": TextModel(
        kind="llama",
        chat="llama3",
        named={"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|pad|>"},
        special=("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "qwen2": chatml(kind="qwen2", chat="qwen2", ends=("<|im_end|>", "<|endoftext|>")),
    "qwen2_moe": chatml(
        kind="qwen2_moe", chat="qwen2", own={**EXPERTS, "shared_expert_intermediate_size": 24, "decoder_sparse_step": 1}
    ),
    "qwen3": chatml(
        kind="qwen3",
        chat="qwen3",
        special=(*SPECIAL_OF_CHATML, "<think>", "</think>"),
        ends=("<|im_end|>", "<|endoftext|>"),
        own={"head_dim": 8},
    ),
    "qwen3_moe": chatml(kind="qwen3_moe", chat="chatml", own={**EXPERTS, "head_dim": 8, "decoder_sparse_step": 1}),
    "qwen3_next": chatml(
        kind="qwen3_next",
        chat="chatml",
        own={
            **EXPERTS,
            "head_dim": 8,
            "shared_expert_intermediate_size": 24,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        },
    ),
    "mistral": TextModel(
        kind="mistral",
        chat="mistral",
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        own={"sliding_window": 64},
    ),
    "mixtral": TextModel(
        kind="mixtral",
        chat="mixtral",
        tokenizer=partial(sentence_piece, leading_blank=True),
        named=PIECES,
        own={"num_local_experts": 6, "num_experts_per_tok": 2},
    ),
    "gemma2": TextModel(
        kind="gemma2",
        chat="gemma2",
        tokenizer=sentence_piece,
        named=GEMMA,
        special=TURNS,
        ends=("<eos>", "<end_of_turn>"),
        own={"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64},
    ),
    "gemma3_text": TextModel(
        kind="gemma3_text",
        chat="gemma3",
        tokenizer=sentence_piece,
        named=GEMMA,
        special=TURNS,
        ends=("<eos>", "<end_of_turn>"),
        own={"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 64},
    ),
    "gemma3n_text": TextModel(
        kind="gemma3n_text",
        chat="gemma3",
        tokenizer=sentence_piece,
        named=GEMMA,
        special=TURNS,
        ends=("<eos>", "<end_of_turn>"),
        own={
            "head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "laurel_rank": 4,
            "vocab_size_per_layer_input": 512,
            "num_kv_shared_layers": 0,
            "intermediate_size": [48] * 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "activation_sparsity_pattern": [0.0] * 4,
        },
    ),
    "phi3": TextModel(
        kind="phi3",
        chat="phi3",
        tokenizer=partial(sentence_piece, leading_blank=True),
        named={"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|placeholder|>"},
        special=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        ends=("<|endoftext|>", "<|assistant|>", "<|end|>"),
    ),
    "olmo2": TextModel(kind="olmo2", chat="olmo2", named=END_OF_TEXT),
    "gpt_neox": TextModel(
        kind="gpt_neox",
        chat="oasst",
        named={"eos_token": "<|endoftext|>", "pad_token": "<|padding|>"},
        special=("<|prompter|>", "<|assistant|>", "<|system|>"),
    ),
    "gpt2": TextModel(kind="gpt2", chat="plain", named={"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}),
    "opt": TextModel(
        kind="opt",
        chat="plain",
        named={"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"},
        own={"ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
    "bloom": TextModel(kind="bloom", chat="plain", named=PIECES),
    "falcon": TextModel(kind="falcon", chat="falcon", named={"eos_token": "<|endoftext|>"}),
    "cohere2": TextModel(
        kind="cohere2",
        chat="cohere",
        named={"bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "pad_token": "<PAD>"},
        special=("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
        own={"sliding_window": 64, "head_dim": 8, "logit_scale": 1.0},
    ),
    "deepseek_v3": TextModel(
        kind="deepseek_v3",
        chat="deepseek_v3",
        named={"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>", "pad_token": "<｜pad｜>"},
        special=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
        own={
            "num_key_value_heads": 4,
            "moe_intermediate_size": 24,
            "n_routed_experts": 6,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "gpt_oss": TextModel(
        kind="gpt_oss",
        chat="gpt_oss",
        named={"bos_token": "<|startoftext|>", "eos_token": "<|return|>", "pad_token": "<|endoftext|>"},
        special=("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>"),
        ends=("<|return|>", "<|endoftext|>", "<|call|>"),
        own={"num_local_experts": 6, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 64},
    ),
    "lfm2": TextModel(
        kind="lfm2",
        chat="chatml",
        named={"bos_token": "<|startoftext|>", **CHATML},
        special=SPECIAL_OF_CHATML,
        own={"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3},
    ),
    "granitemoehybrid": chatml(
        kind="granitemoehybrid",
        chat="chatml",
        own={
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 24,
            "layer_types": ["mamba", "attention"] * 2,
            "mamba_n_heads": 8,
            "mamba_d_state": 8,
            "mamba_d_head": 8,
            "mamba_chunk_size": 16,
        },
    ),
    "mamba": TextModel(
        kind="mamba", chat="zephyr", named=END_OF_TEXT, own={"state_size": 8, "time_step_rank": 4, "expand": 2}
    ),
    "mamba2": TextModel(
        kind="mamba2",
        chat="zephyr",
        named=END_OF_TEXT,
        own={"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16},
    ),
    "jamba": TextModel(
        kind="jamba",
        chat="jamba",
        named={"bos_token": "<|startoftext|>", "eos_token": "<|eom|>", "pad_token": "<|pad|>"},
        special=("<|bom|>", "<|system|>", "<|user|>", "<|assistant|>"),
        own={
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "falcon_h1": TextModel(
        kind="falcon_h1",
        chat="chatml",
        named={"bos_token": "<|begin_of_text|>", **CHATML},
        special=SPECIAL_OF_CHATML,
        own={
            "mamba_d_ssm": 64,
            "mamba_n_heads": 8,
            "mamba_d_head": 8,
            "mamba_d_state": 8,
            "mamba_n_groups": 1,
            "mamba_chunk_size": 16,
            "head_dim": 8,
        },
    ),
}
"""Family -> how its tiny model is made."""
