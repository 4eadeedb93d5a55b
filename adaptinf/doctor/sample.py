"""adaptinf inspect: one sample as it is read from a dataset, and as the model receives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.images import open_stored
from adaptinf.storage.display import as_frame
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive tokens of one kind."""

    text: str
    """Text of the tokens; empty for an image."""
    num_tokens: int
    """Number of its tokens."""
    is_answer: bool
    """Whether the model is trained on these tokens."""
    is_image: bool
    """Whether the tokens stand for an image."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON; its keys are those that `inspect --json` has always had."""
        return {"is_picture" if key == "is_image" else key: value for key, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """One row of a file."""

    row: Sample | Rejected
    """The sample, or why the row was rejected."""
    image_sizes: tuple[tuple[int, int], ...]
    """Width and height of each image."""
    pieces: tuple[Piece, ...]
    """The whole sequence as the model receives it; empty without a model."""
    is_cut: bool
    """Whether the sequence was cut at `max_length` tokens."""

    def __repr__(self) -> str:
        if isinstance(self.row, Rejected):
            return f"Inspected({self.row!r})"
        learnt = sum(piece.num_tokens for piece in self.pieces if piece.is_answer)
        total = sum(piece.num_tokens for piece in self.pieces)
        tokens = f", {total:,} tokens of which {learnt:,} are learnt" if self.pieces else ""
        return f"Inspected({self.row!r}{tokens})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per stretch of tokens: `text`, `num_tokens`, `is_answer`, `is_image`; none without a model."""
        names = [field.name for field in fields(Piece)]
        return as_frame({name: [getattr(piece, name) for piece in self.pieces] for name in names})

    def _repr_html_(self) -> str:
        """Return the conversation and, with a model, its tokens as notebooks show them; learnt text is marked."""
        shown = f"<p>{escape(repr(self.row))}</p>" if isinstance(self.row, Rejected) else self.row._repr_html_()
        return f"{shown}<p>{''.join(map(_as_html, self.pieces))}</p>" if self.pieces else shown

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        if isinstance(self.row, Rejected):
            return {"rejected": vars(self.row)}
        return {
            "id": self.row.id,
            "messages": list(self.row.messages),
            "images": [
                {"path": str(path), "width": size[0], "height": size[1]}
                for path, size in zip(self.row.images, self.image_sizes, strict=True)
            ],
            "meta": dict(self.row.meta),
            "notes": list(self.row.notes),
            "is_cut": self.is_cut,
            "pieces": [piece.as_json() for piece in self.pieces],
        }


def _as_html(piece: Piece) -> str:
    if piece.is_image:
        return f"[{piece.num_tokens:,} image tokens]"
    return f"<mark>{escape(piece.text)}</mark>" if piece.is_answer else escape(piece.text)


def inspect_row(
    path: str, which: str, *, images: str | None = None, format: str | None = None, model: str | None = None
) -> Inspected:
    """Return one row of a dataset; with a model also its tokens, divided into answers and the rest.

    Args:
        path: dataset file or folder.
        which: number of the row from 0, as in `validate`; otherwise an id, with or without the name of the dataset.
        images: folder that image paths start from; None: the folder of the file.
        format: name of the format; None: detected.
        model: Hugging Face folder or hub name.

    Raises:
        DataError: the file cannot be read, or has no such row.
        ModelError: the model cannot be loaded, or its chat template does not mark answers.
    """
    row = _find(read(path, format, images), path, which)
    if isinstance(row, Rejected):
        return Inspected(row=row, image_sizes=(), pieces=(), is_cut=False)
    sizes = tuple(open_stored(path).size for path in row.images)
    pieces, is_cut = _as_seen(row, model) if model else ((), False)
    return Inspected(row=row, image_sizes=sizes, pieces=pieces, is_cut=is_cut)


def _find(rows: Iterator[Sample | Rejected], path: str, which: str) -> Sample | Rejected:
    number = -1
    for number, row in enumerate(rows):
        is_it = number == int(which) if which.isdecimal() else which in (row.id, row.id.partition("/")[2])
        if is_it:
            return row
    raise DataError(f"{path} has no row or id {which!r}; it has {counted(number + 1, 'row')}, numbered from 0")


def _as_seen(sample: Sample, model: str) -> tuple[tuple[Piece, ...], bool]:
    from adaptinf.config import ModelConfig
    from adaptinf.models import load
    from adaptinf.models.chat import IGNORED, encode
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        learner = load(ModelConfig(path=model))
        batch = encode(learner, [sample], [[open_stored(path) for path in sample.images]])
        tokens, labels = batch.inputs["input_ids"][0].tolist(), batch.labels[0].tolist()
        kinds = [
            (label != IGNORED, token in batch.image_tokens, token) for token, label in zip(tokens, labels, strict=True)
        ]
        pieces = []
        for (is_answer, is_image), group in groupby(kinds, key=lambda kind: kind[:2]):
            own = [token for *_, token in group]
            text = "" if is_image else learner.tokenizer.decode(own)
            pieces.append(Piece(text=text, num_tokens=len(own), is_answer=is_answer, is_image=is_image))
        return tuple(pieces), bool(batch.cut[0])
