"""Design of the tiny model: tokenizer, processor, chat template and configuration of an ordinary LLaVA folder."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaProcessor, PreTrainedTokenizerFast

from adaptinf.demo.canvas import SIZE
from scripts.pretrain.patches import PATCH

PAD, END, IMAGE = "<|pad|>", "<|end|>", "<image>"
SPECIAL = (PAD, END, IMAGE, "<|system|>", "<|user|>", "<|assistant|>")
PAD_ID, END_ID, IMAGE_ID = 0, 1, 2
"""The trainer numbers special tokens in order, before all others."""
VOCABULARY = 800
IMAGE_TOKENS = (SIZE // PATCH) ** 2
LONGEST = 1024
"""Largest number of positions of the language model."""
TOWER_WIDTH = 128

CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for block in content -%}
{%- if block.type == 'image' -%}<image>{%- elif block.type == 'text' -%}{{ block.text }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{{- '<|' + message.role + '|>' -}}
{%- if message.role == 'assistant' -%}
{%- generation -%}{{- render(message.content) + '<|end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- render(message.content) + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""
"""The end token is inside the generation block, so that the model learns to stop."""


def build_processor(texts: Sequence[str]) -> LlavaProcessor:
    """Return a processor with a byte-level tokenizer trained on the texts; it has no unknown tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE},
    )
    pixels = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=pixels,
        tokenizer=fast,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_config(num_entries: int) -> LlavaConfig:
    """Return the configuration of 1.2 M parameters, half of them in the vision tower, which is cheap to run."""
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": TOWER_WIDTH,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": PATCH,
        "projection_dim": TOWER_WIDTH,
    }
    text = {
        "model_type": "llama",
        "vocab_size": num_entries,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": LONGEST,
        "tie_word_embeddings": True,
        "initializer_range": 0.04,
        "pad_token_id": PAD_ID,
        "eos_token_id": END_ID,
        "bos_token_id": None,
    }
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE_ID,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
