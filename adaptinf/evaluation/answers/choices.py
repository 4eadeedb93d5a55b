"""The options of a multiple-choice question: columns of the row, else the lines of the question."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from adaptinf.evaluation.answers.item import QUESTION
from adaptinf.evaluation.answers.texts import normalised

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
KEYS = ("choices", "options")
"""Keys of a row with its options: a list of texts, an object of letters, or `{label: [...], text: [...]}`."""
_MARK = re.compile(r"(?:^|(?<=[\s:;,]))(?:\(([A-Z]|[1-9])\)|\[([A-Z]|[1-9])\]|([A-Z]|[1-9])[.):](?=\s))\s*")
# At the beginning of lines alone, as (a) and (b) within a sentence are parts of a figure.
_SMALL_MARK = re.compile(r"^[ \t]*(?:\(([a-z])\)|\[([a-z])\]|([a-z])[.):](?=\s))\s*", re.MULTILINE)
_BARE_LABEL = re.compile(r"[(\[]?([A-Za-z]|[1-9])[)\].:]?")


def choices_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return label -> text of each option; empty where the row names none.

    Sought under `choices` or `options`, in columns A, B, C, ..., and in the question: `A. cat`, `(A) cat`, `A) cat`.
    Labels that are letters are capital ones.
    """
    for key in KEYS:
        if found := _from_value(meta.get(key)):
            return found
    columns = {letter: meta.get(letter) for letter in LETTERS}
    texts = [str(columns[letter]) for letter in LETTERS if columns[letter] not in (None, "")]
    if len(texts) > 1 and all(columns[letter] not in (None, "") for letter in LETTERS[: len(texts)]):
        return dict(zip(LETTERS, texts, strict=False))
    return _from_question(str(meta.get(QUESTION, "")))


# Any: a value of a row can be of any type.
def _from_value(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts):
            return _capital({str(label): str(text) for label, text in zip(labels, texts, strict=True)})
        if all(isinstance(text, str) and len(str(label)) == 1 for label, text in value.items()):
            return _capital({str(label): text for label, text in value.items()})
        return {}
    if isinstance(value, list) and 1 < len(value) <= len(LETTERS):
        if all(isinstance(text, str | int | float) for text in value):
            return dict(zip(LETTERS, _without_marks(list(map(str, value))), strict=False))
    return {}


def _capital(choices: dict[str, str]) -> dict[str, str]:
    """Return options with capital letters for labels such as b, (B) or B., as predictions name them in any case."""
    marks = [_BARE_LABEL.fullmatch(label.strip()) for label in choices]
    labels = [mark[1].upper() for mark in marks if mark]
    return dict(zip(labels, choices.values(), strict=True)) if len(set(labels)) == len(choices) else choices


def _read(text: str) -> Any:
    """Return the value of a text that is JSON or, as MMMU has its options, a literal of Python; None for another."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _without_marks(texts: list[str]) -> list[str]:
    """Return options without their letters, if each begins with its own."""
    found = [_MARK.match(text) or _SMALL_MARK.match(text) for text in texts]
    labels = [next(filter(None, one.groups())).upper() if one else "" for one in found]
    if labels != list(LETTERS[: len(texts)]):
        return texts
    return [text[one.end() :] if one else text for text, one in zip(texts, found, strict=True)]


def _from_question(question: str) -> dict[str, str]:
    """Return the last run of marks A, B, C, ... or 1, 2, 3, ... or a, b, c, ... with what stands behind each."""
    best: dict[str, str] = {}
    for mark, labels in ((_MARK, LETTERS), (_MARK, "123456789"), (_SMALL_MARK, LETTERS.lower())):
        for run in _runs(question, mark, labels):
            if len(run) > 1:
                best = _capital(run)
        if best:
            return best
    return best


def _runs(question: str, mark: re.Pattern[str], labels: str) -> Iterator[dict[str, str]]:
    marks = [(next(filter(None, one.groups())), one) for one in mark.finditer(question)]
    run: list[tuple[str, re.Match[str]]] = []
    for label, one in marks:
        if run and label == labels[len(run) % len(labels)] and len(run) < len(labels):
            run.append((label, one))
        elif label == labels[0]:
            yield _texts(question, run)
            run = [(label, one)]
    yield _texts(question, run)


def _texts(question: str, run: list[tuple[str, re.Match[str]]]) -> dict[str, str]:
    ends = [mark.start() for _, mark in run[1:]]
    found = {}
    for (label, mark), end in zip(run, [*ends, len(question)], strict=False):
        text = question[mark.end() : end].strip()
        # What follows the last option on another line is no part of it, nor is the comma before the next one.
        found[label] = (text.splitlines() or [""])[0].strip().rstrip(",;")
    return found


def label_of_text(text: str, choices: Mapping[str, str]) -> str | None:
    """Return the label of the one option with a text; None: no option has it, or several have."""
    found = [label for label, choice in choices.items() if normalised(choice) == normalised(text)]
    # An option may be an image, without a text.
    return found[0] if len(found) == 1 and text.strip() else None
