"""BLEU and chrF as sacrebleu computes them, for translations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from adaptinf.evaluation.answers.item import Item
from adaptinf.registry import metric

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

Tokens = Literal["13a", "intl", "zh", "char", "none"]
"""How sacrebleu divides a text into words; zh for Chinese, char for other scripts without spaces."""


@metric("bleu")
def sentence_bleu(item: Item, *, tokenize: Tokens = "13a", lowercase: bool = False) -> float:
    """Return the BLEU of one sentence against all allowed answers, with sacrebleu's smoothing; case counts."""
    if item.prediction in item.answers:
        return 1.0
    return float(_bleu(tokenize, lowercase).sentence_score(item.prediction, list(item.answers)).score) / 100.0


@metric("chrf")
def sentence_chrf(item: Item, *, word_order: Literal[0, 1, 2] = 0, lowercase: bool = False) -> float:
    """Return the chrF of one sentence, chrF++ with `word_order: 2`, against the best allowed answer; case counts."""
    if item.prediction in item.answers:
        return 1.0
    return float(_chrf(word_order, lowercase).sentence_score(item.prediction, list(item.answers)).score) / 100.0


# Imported where they are used, as they take a while, and few runs use them.
@cache
def _bleu(tokenize: str, lowercase: bool) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True)


@cache
def _chrf(word_order: int, lowercase: bool) -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(word_order=word_order, lowercase=lowercase)
