"""A text-only model of random weights with a byte-level tokenizer, written by the test that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<eos>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Without generation marks: answers must be found by prefixes."""


SPECIAL = ["<pad>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>"]
"""What TEMPLATE writes."""


def byte_tokenizer(special: list[str], **options: Any) -> Any:
    """Return a byte-level tokenizer without merges: every byte is a token, and the special ones come last."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def write_text_model(
    folder: Path,
    *,
    template: str | None = TEMPLATE,
    pad: str | None = "<pad>",
    special: list[str] | None = None,
    num_blocks: int = 2,
    hidden_size: int = 32,
    initializer_range: float = 0.02,
) -> Path:
    """Write a Llama and return its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    options = {} if pad is None else {"pad_token": pad}
    fast = byte_tokenizer([*SPECIAL, *(special or [])], eos_token="<eos>", **options)
    if template is not None:
        fast.chat_template = template
    fast.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(fast),
                hidden_size=hidden_size,
                intermediate_size=48,
                num_hidden_layers=num_blocks,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=1024,
                initializer_range=initializer_range,
                eos_token_id=fast.eos_token_id,
                bos_token_id=None,
                pad_token_id=0 if pad is None else fast.pad_token_id,
            )
        )
    model.save_pretrained(folder)
    return folder
