"""Tokenizers of two styles, trained in milliseconds on a few sentences: byte-level BPE, and SentencePiece-like BPE."""

from __future__ import annotations

import json
from typing import Any

CORPUS = (
    "What colour is it? It is red. How many dots are there? There are many small dots, more than I can count. Are you "
    "sure? Yes. Same or different? different. Write the opposite of hot. cold. Repeat after me: blue circle, blue "
    "circle, blue circle. You are a helpful assistant. USER: ASSISTANT: System: User: Assistant: Be brief.\n\n"
)
"""What the merges are learnt from; the other characters become bytes."""
VOCABULARY = 400
"""Bytes and some merges."""
NUM_PIECES = 150
"""Letters and some merges, beside the bytes."""
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's rule for what no merge crosses."""


def byte_level(special: list[str], **options: Any) -> Any:
    """Return a byte-level BPE tokenizer; `options` name the special tokens by their use, as bos_token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([CORPUS], trainer)
    return _fast(tokenizer, special, options)


def sentence_piece(special: list[str], *, leading_blank: bool = False, **options: Any) -> Any:
    """Return a BPE tokenizer as SentencePiece's: blanks are letters, unknown letters are bytes.

    Args:
        special: special tokens beside those in `options`.
        leading_blank: every piece of text between special tokens begins with a blank (Llama 1 and 2).
        options: special tokens by their use.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    # SentencePiece joins a blank to the word that follows, and no merge crosses words.
    words = CORPUS.replace(" ", "\0▁").split("\0")
    learnt = Tokenizer(models.BPE())
    learnt.train_from_iterator(words, trainers.BpeTrainer(vocab_size=NUM_PIECES, show_progress=False))
    model = json.loads(learnt.to_str())["model"]
    pieces = ["<unk>", *(f"<0x{number:02X}>" for number in range(256)), *model["vocab"]]
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    replaced = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replaced]) if leading_blank else replaced
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*parts, *([decoders.Strip(" ", 1, 0)] if leading_blank else [])])
    return _fast(tokenizer, special, {"unk_token": "<unk>", **options})


def _fast(tokenizer: Any, special: list[str], options: dict[str, Any]) -> Any:
    """Return the tokenizer of transformers, which begins a text with `bos_token` if `options` have one."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    named = [token for name, token in options.items() if name.endswith("_token") and token != "<unk>"]
    tokenizer.add_special_tokens(list(dict.fromkeys([*named, *special])))
    bos = options.get("bos_token")
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
