"""What `inspect` shows of one row: the sample as it is read, its tokens, its losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptinf.data import Rejected, Sample
from adaptinf.formats.unread_images import may_be_image
from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import place_of
from adaptinf.scoring.columns import number_of
from adaptinf.storage.display import as_frame
from adaptinf.words import counted, shortened

if TYPE_CHECKING:
    import pandas as pd

NOT_LEARNT = " (not learnt)"
"""Behind the role of a turn that carries no loss."""
SHOWN_KEY = 80
"""Characters of a key that are shown."""


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


class TurnLoss(NamedTuple):
    """What the model makes of one learnt turn, before it learns it."""

    turn: int
    """Number of the turn, from 0."""
    num_tokens: int
    """Tokens that carry loss."""
    loss: float
    """Mean loss of these tokens, in nats."""


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
    note: str = ""
    """How the row was found, where that needs to be said."""
    num_cut: int = 0
    """Tokens that `max_length` cuts off, images included."""
    num_answer_cut: int = 0
    """Those of answers among them."""
    losses: tuple[TurnLoss, ...] = ()
    """Mean loss of each learnt turn; empty without a model."""
    remark: str = ""
    """Why no loss was measured, where that needs to be said."""
    problem: str = ""
    """Why the model cannot use the sample; empty: it can, or none was named."""

    @property
    def image_places(self) -> tuple[str, ...]:
        """Where each image is: its path, or that it stands in the row."""
        return () if isinstance(self.row, Rejected) else tuple(map(place_of, self.row.images))

    @property
    def named_turns(self) -> tuple[tuple[str, str], ...]:
        """Role and text of each turn; a turn of the assistant that carries no loss is named so."""
        if isinstance(self.row, Rejected):
            return ()
        unlearnt = self.row.unlearnt
        turns = enumerate(self.row.turns)
        return tuple((f"{role}{NOT_LEARNT if number in unlearnt else ''}", text) for number, (role, text) in turns)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing beside the text: tokens, what was cut, losses, repairs, unused keys."""
        return tuple(_remarks(self))

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
                {**_identity(image), "width": size[0], "height": size[1]}
                for image, size in zip(self.row.images, self.image_sizes, strict=True)
            ],
            "meta": dict(self.row.meta),
            "notes": list(self.row.notes),
            "note": self.note,
            "unlearnt": list(self.row.unlearnt),
            "tools": list(self.row.tools),
            "unused_keys": list(self.row.unread),
            "problem": self.problem,
            "is_cut": self.is_cut,
            "tokens_cut": self.num_cut,
            "answer_tokens_cut": self.num_answer_cut,
            "losses": [loss._asdict() for loss in self.losses],
            "pieces": [piece.as_json() for piece in self.pieces],
        }


def _identity(image: Path | ImageContent) -> dict[str, Any]:
    """Return what names an image: its path, or the hash of one that stands in the row."""
    return {"path": str(image)} if isinstance(image, Path) else {"path": None, "sha256": image.digest}


def _as_html(piece: Piece) -> str:
    if piece.is_image:
        return f"[{piece.num_tokens:,} image tokens]"
    return f"<mark>{escape(piece.text)}</mark>" if piece.is_answer else escape(piece.text)


def _remarks(inspected: Inspected) -> Iterator[str]:
    images = [piece.num_tokens for piece in inspected.pieces if piece.is_image]
    if images:
        yield f"image tokens: {sum(images):,} ({', '.join(f'{number:,}' for number in images)})"
    if inspected.num_cut:
        tokens = counted(inspected.num_cut, "token")
        yield f"cut off by max_length: {tokens}, {inspected.num_answer_cut:,} of them of answers"
    for loss in inspected.losses:
        yield f"loss of turn {loss.turn + 1}: {loss.loss:.3f} ({counted(loss.num_tokens, 'token')})"
    if inspected.remark:
        yield inspected.remark
    if isinstance(inspected.row, Sample):
        yield from (f"repaired: {note}" for note in inspected.row.notes)
        if inspected.row.tools:
            yield f"tools: {len(inspected.row.tools):,}"
        if inspected.row.unread:
            keys = [_with_use(key, inspected.row.meta.get(key)) for key in inspected.row.unread]
            yield f"unused keys: {', '.join(keys)}"


def _with_use(key: str, value: Any) -> str:
    """Return a key that nothing reads, with what its value could be used for (Any: whatever JSON can hold)."""
    is_number = not math.isnan(number_of(value))
    use = " (looks like an image)" if may_be_image(value) else " (a number: may be a score)" if is_number else ""
    return shortened(key, SHOWN_KEY) + use
