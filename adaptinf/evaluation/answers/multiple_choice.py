"""Multiple choice: the letter of an option, or its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set

from adaptinf.errors import DataError
from adaptinf.evaluation.answers.choices import LETTERS, choices_of, label_of_text
from adaptinf.evaluation.answers.item import Item
from adaptinf.evaluation.answers.judge import SHOWN_CHARACTERS, refined
from adaptinf.evaluation.answers.texts import normalised, words_of
from adaptinf.registry import metric
from adaptinf.words import shortened

# B, (B), [B], B., B), B: and the same before the text of the option.
_LABEL = re.compile(
    r"[(\[]?\s*(?:option\s+)?([A-Za-z]|[1-9])\s*([)\]][.:]?|[.:])?(?:\s+(.*))?", re.DOTALL | re.IGNORECASE
)
_MARKED = re.compile(
    r"[(\[]([A-Z]|[1-9])[)\]]|(?<![\w'])([A-Z])[.):](?=\s|$)|\b(?:option|choice|answer)\s+(?:is\s+)?([A-Z]|[1-9])(?!\w)"
)
_ALONE = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")
# An article, or the first person, or the options A and I: nobody can tell.
_WORD = re.compile(r"(?<![\w'])([AI])(?=\s+[a-z])")
# Before the text of an option, nobody can tell what is denied: "It isn't a cat."
_DENIAL = re.compile(r"\bnot\b|n['\u2019]t\b|\bnever\b|\bcannot\b", re.IGNORECASE)
_STATED = re.compile(
    r"\b(?i:answer)\s*(?:is|:|=)\s*:?\s*[(\[*]*([A-Z]|[1-9])(?![\w'])(?!\s*(?:,|/|or\b|and\b))"
    r"(?!\s+(?!(?:because|since|as|for)\b)[a-z])"
)


def _in_sentence(item: Item, **_: object) -> Iterator[str]:
    """Yield the one option that a sentence names, by letter or else by text; nothing where it names several."""
    choices, text = choices_of(item.meta), item.prediction
    labels = set(choices or LETTERS)
    named = {label for label in _STATED.findall(text) if label in labels} or _named_labels(text, labels)
    if not named and not _DENIAL.search(text):
        named = _named_texts(text, choices)
    if len(named) == 1:
        (label,) = named
        if not re.search(rf"(?:{_DENIAL.pattern})\s+(?:be\s+)?\(?(?:option\s+)?{label}\b", text, re.IGNORECASE):
            yield label


def _named_labels(text: str, labels: Set[str]) -> set[str]:
    """Return the labels that a text names; beside a mere letter, a word that may be one counts as well."""
    marked = {next(filter(None, groups)) for groups in _MARKED.findall(text)} & labels
    alone = set(_ALONE.findall(_WORD.sub("", text))) & labels
    words = set(_WORD.findall(text)) & labels
    return marked | alone | (words if alone and not marked else set())


def _named_texts(text: str, choices: Mapping[str, str]) -> set[str]:
    """Return the labels of the options whose words a text holds; of one within another, the longer alone."""
    said = words_of(text)
    spans = {}
    for label, choice in choices.items():
        words = words_of(choice)
        starts = [at for at in range(len(said) - len(words) + 1) if words and said[at : at + len(words)] == words]
        if starts:
            spans[label] = [(start, start + len(words)) for start in starts]
    return {label for label in spans if not _is_within_others(label, spans)}


def _is_within_others(label: str, spans: Mapping[str, list[tuple[int, int]]]) -> bool:
    others = [span for other, own in spans.items() if other != label for span in own]
    return all(
        any(begin <= start and end <= stop and (begin, stop) != (start, end) for begin, stop in others)
        for start, end in spans[label]
    )


@metric("multiple_choice")
@refined(candidates=_in_sentence)
def chosen(item: Item) -> float:
    """Return 1 where the prediction is the right option: its letter (B, (B), B., b), its text, or both.

    The options are those of the row (`choices`, `options`, or columns A, B, ...) or of the question.

    Raises:
        DataError: the right answer is none of the options.
    """
    choices = choices_of(item.meta)
    rights = {_right(answer, choices) for answer in item.answers}
    return float(_label(item.prediction, choices) in rights)


def _right(answer: str, choices: Mapping[str, str]) -> str:
    label = _label(answer, choices)
    if label is None:
        shown = repr(shortened(answer, SHOWN_CHARACTERS))
        if not choices:
            raise DataError(f"the right answer {shown} is no letter, and the question has no options")
        raise DataError(f"the right answer {shown} is none of the options {', '.join(choices)}")
    return label


def _label(text: str, choices: Mapping[str, str]) -> str | None:
    """Return the label of the option that a text is; None: it is none, or more than one."""
    found = _LABEL.fullmatch(text.strip())
    if found:
        label = found[1] if found[1] in choices else found[1].upper()
        rest = (found[3] or "").strip()
        # Without options, whatever stands behind "B." is the text of B, unless it names another letter.
        is_own = bool(found[2]) and not _MARKED.search(rest) if not choices else _is_text_of(rest, label, choices)
        if label in (choices or LETTERS) and (not rest or is_own):
            return label
    return label_of_text(text, choices)


def _is_text_of(rest: str, label: str, choices: Mapping[str, str]) -> bool:
    """Tell whether what stands behind a letter is the text of its option."""
    return label in choices and normalised(choices[label]) == normalised(rest)
