"""adaptinf inspect: one sample as it is read from a dataset, and as the model receives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adaptinf.data import Rejected
from adaptinf.doctor.inspected import Inspected
from adaptinf.doctor.lookup import Found, Rows, by_id, by_number
from adaptinf.errors import ModelError

if TYPE_CHECKING:
    from adaptinf.models.loading import Learner


def inspect_found(found: Sequence[Found], model: str | None) -> list[Inspected]:
    """Return rows as they are read and, with a model, as it sees them; it is loaded once.

    Raises:
        ModelError: the model cannot be loaded, or its chat template fits no conversation.
    """
    from adaptinf.models.quiet import quiet_libraries

    if model is None:
        return [_as_read(one) for one in found]
    with quiet_libraries():
        from adaptinf.doctor.as_seen import as_seen

        learner, note = _loaded(model)
        return [replace(seen, remark=note) for seen in (as_seen(learner, _as_read(one)) for one in found)]


def _loaded(model: str) -> tuple[Learner, str]:
    """Return the model, or where its weights cannot be loaded its reader, which gives no losses; and a remark on that.

    Raises:
        ModelError: the processor or its chat template cannot be loaded either.
    """
    from adaptinf.config import ModelConfig
    from adaptinf.models.loading import load, load_reader

    config = ModelConfig(path=model)
    try:
        return load(config), ""
    except ModelError as error:
        return load_reader(config), f"loss: not measured, {error}"


def _as_read(found: Found) -> Inspected:
    row = found.row
    sizes = () if isinstance(row, Rejected) else tuple(image.open().size for image in row.stored_images)
    return Inspected(row=row, image_sizes=sizes, pieces=(), is_cut=False, note=found.note)


def inspect_row(rows: Rows, which: str | int, *, model: str | None = None) -> Inspected:
    """Return one row of a dataset; with a model also its tokens, divided into answers and the rest.

    Args:
        rows: the dataset.
        which: an id, with or without the name of the dataset, else a row number as text; or a row number, from 0.
        model: Hugging Face folder or hub name.

    Raises:
        DataError: the file cannot be read, or has no such row.
        ModelError: the model cannot be loaded, or its chat template fits no conversation.
    """
    found = by_number(rows, which) if isinstance(which, int) else by_id(rows, which)
    return inspect_found([found], model)[0]
