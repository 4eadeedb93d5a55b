"""Samples on one HTML page: what they say, what is learnt, small images. Everything from the data is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from adaptinf.data import Rejected, Sample
from adaptinf.doctor.inspected import Inspected, Piece
from adaptinf.errors import DataError
from adaptinf.images import StoredImage
from adaptinf.pool.image_file import place_of
from adaptinf.storage import store
from adaptinf.words import counted, page_text

THUMBNAIL = 160
"""Longest side of an image in pixels."""
SHOWN_IMAGES = 200
"""Images that are shown; the paths of all others are."""
SHOWN_CHARACTERS = 5000
"""Characters of one text that are shown."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
article { border-top: 1px solid #ccc; padding: 1em 0; }
h2 { font-size: 1em; margin: 0 0 .5em; overflow-wrap: anywhere; }
p { margin: .2em 0; white-space: pre-wrap; overflow-wrap: anywhere; }
b { color: #666; font-weight: 600; }
mark { background: #c9f2cf; }
.quiet { color: #666; font-size: .9em; }
.bad { color: #a11; }
img { margin-right: .5em; }
"""


def write_page(samples: Sequence[Inspected], path: Path, title: str) -> None:
    """Write samples to one self-contained file; it opens offline."""
    left = SHOWN_IMAGES
    articles = []
    for sample in samples:
        articles.append("".join(_article(sample, left)))
        left = max(0, left - len(sample.image_sizes))
    head = f'<meta charset="utf-8"><title>{_html(title)}</title><style>{STYLE}</style>'
    body = f"<h1>{_html(title)}</h1><p class=quiet>{counted(len(samples), 'sample')}; learnt text is marked</p>"
    text = f"<!doctype html><html lang=en><head>{head}</head><body>{body}{''.join(articles)}</body></html>\n"
    store.write_text_whole(path, text)


def _article(inspected: Inspected, num_images: int) -> Iterator[str]:
    row = inspected.row
    yield f"<article><h2>{_text(row.id)}</h2>"
    if inspected.note:
        yield f"<p class=quiet>{_text(inspected.note)}</p>"
    if isinstance(row, Rejected):
        yield f"<p class=bad>rejected: {_text(row.reason)}</p></article>"
        return
    yield from _images(row, num_images)
    yield from (f"<p><b>{_html(role)}</b> {_text(text)}</p>" for role, text in inspected.named_turns)
    if inspected.pieces:
        yield f"<p><b>as the model sees it</b></p><p>{''.join(map(_piece, inspected.pieces))}</p>"
    yield from (f"<p class=quiet>{_text(line)}</p>" for line in inspected.remarks)
    if inspected.problem:
        yield f"<p class=bad>the model cannot use it: {_text(inspected.problem)}</p>"
    yield "</article>"


def _images(sample: Sample, num_images: int) -> Iterator[str]:
    for number, image in enumerate(sample.stored_images):
        source = _thumbnail(image) if number < num_images else None
        yield f'<img alt="" src="data:image/jpeg;base64,{source}">' if source else ""
        yield f"<p class=quiet>{_text(place_of(image.image))}</p>"


def _thumbnail(stored: StoredImage) -> str | None:
    try:
        image = stored.open()
    except DataError:  # it could be read a moment ago; its path is shown
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return base64.b64encode(content.getvalue()).decode()


def _piece(piece: Piece) -> str:
    if piece.is_image:
        return f"[{counted(piece.num_tokens, 'image token')}]"
    return f"<mark>{_html(piece.text)}</mark>" if piece.is_answer else _html(piece.text)


def _html(text: str) -> str:
    return escape(page_text(text))


def _text(text: str) -> str:
    """Return a text from the data as HTML, cut where it is very long."""
    return _html(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")
