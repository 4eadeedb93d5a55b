"""Samples as Arrow columns, built column by column: a dict per row would take ten times as long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

from adaptinf.data import Sample
from adaptinf.formats.plain import PlainRow
from adaptinf.pool.id_files import NUMBER

BATCH_ROWS = 1000
"""Rows of a batch, as `datasets` writes it."""
BATCH_CHARACTERS = 64 * 2**20
"""Characters of text that end a batch earlier: the writer holds one batch in memory."""

TEXT = pa.string()
_BLOCK = pa.struct([("type", TEXT), ("text", TEXT)])
_TURN = pa.struct([("role", TEXT), ("content", pa.list_(_BLOCK))])
_META = pa.struct([("skill", TEXT), ("task", TEXT), ("extra", TEXT)])
COLUMNS: Mapping[str, pa.DataType] = {
    "id": TEXT,
    "messages": pa.list_(_TURN),
    "images": pa.list_(TEXT),
    "source": TEXT,
    "meta": _META,
    "unlearnt": pa.list_(pa.int64()),
    "tools": TEXT,
    "tags": pa.list_(TEXT),
    "reductions": pa.list_(pa.int64()),
}
"""Columns of a dataset in the pool."""
SCHEMA = pa.schema([*COLUMNS.items(), (NUMBER, pa.int64())])
"""Columns of a chunk, whose ids are not settled."""


class Columns:
    """Takes samples one by one and gives them as a batch of columns."""

    def __init__(self, source: str) -> None:
        """`source` is the name of the dataset."""
        self.source = source
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str | None] = []
        self._numbers: list[int] = []
        self._num_turns: list[int] = []
        self._roles: list[str] = []
        self._num_blocks: list[int] = []
        self._types: list[str] = []
        self._texts: list[str | None] = []
        # Row -> value, of the few rows that have one.
        self._lists: dict[str, dict[int, Sequence[Any]]] = {
            name: {} for name in ("images", "unlearnt", "tags", "reductions")
        }
        self._metas: dict[int, Mapping[str, Any]] = {}
        self._tools: dict[int, str] = {}
        self.num_characters = 0
        """Characters of all texts."""

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def is_full(self) -> bool:
        """Whether the samples should become a batch now."""
        return len(self._ids) >= BATCH_ROWS or self.num_characters > BATCH_CHARACTERS

    def add_plain(self, row: PlainRow) -> None:
        """Add a plain row."""
        if row.meta:
            self._metas[len(self._ids)] = row.meta
        self._ids.append(row.id or None)
        self._numbers.append(row.number)
        count = len(row.roles)
        self._num_turns.append(count)
        self._roles += row.roles
        self._num_blocks += [1] * count
        self._types += ["text"] * count
        self._texts += row.texts
        self.num_characters += sum(map(len, row.texts))

    def add(self, sample: Sample, id: str, number: int, images: Sequence[str]) -> None:
        """Add a sample.

        Args:
            sample: the sample.
            id: its own id without the dataset's name; empty where it has none.
            number: number of its row.
            images: the paths to store for its images.
        """
        row = len(self._ids)
        self._ids.append(id or None)
        self._numbers.append(number)
        self._num_turns.append(len(sample.messages))
        for message in sample.messages:
            self._roles.append(message["role"])
            self._num_blocks.append(len(message["content"]))
            for block in message["content"]:
                self._types.append(block["type"])
                self._texts.append(block["text"])
                self.num_characters += len(block["text"] or "")
        lists = {"unlearnt": sample.unlearnt, "tags": sample.tags, "reductions": sample.reductions, "images": images}
        for name, values in lists.items():
            if values:
                self._lists[name][row] = values
        if sample.meta:
            self._metas[row] = sample.meta
        if sample.tools:
            self._tools[row] = json.dumps(sample.tools)

    def batch(self) -> pa.RecordBatch:
        """Return the samples as a batch with the columns of SCHEMA, and begin anew."""
        count = len(self._ids)
        blocks = pa.StructArray.from_arrays(
            [pa.array(self._types, TEXT), pa.array(self._texts, TEXT)], fields=list(_BLOCK)
        )
        contents = pa.ListArray.from_arrays(_offsets(self._num_blocks), blocks, type=pa.list_(_BLOCK))
        turns = pa.StructArray.from_arrays([pa.array(self._roles, TEXT), contents], fields=list(_TURN))
        arrays = {
            "id": pa.array(self._ids, TEXT),
            "messages": pa.ListArray.from_arrays(_offsets(self._num_turns), turns, type=COLUMNS["messages"]),
            "source": pa.repeat(pa.scalar(self.source, TEXT), count),
            "meta": self._meta(count),
            "tools": _sparse(self._tools, count),
            NUMBER: pa.array(self._numbers, pa.int64()),
            **{name: _list_column(values, count, COLUMNS[name]) for name, values in self._lists.items()},
        }
        self._clear()
        return pa.record_batch([arrays[name] for name in SCHEMA.names], schema=SCHEMA)

    def _meta(self, count: int) -> pa.StructArray:
        named: dict[str, dict[int, str]] = {"skill": {}, "task": {}, "extra": {}}
        for row, meta in self._metas.items():
            others = {}
            for key, value in meta.items():
                if key in ("skill", "task") and isinstance(value, str):
                    named[key][row] = value
                else:
                    others[key] = value
            if others:
                named["extra"][row] = json.dumps(others)
        return pa.StructArray.from_arrays([_sparse(named[field.name], count) for field in _META], fields=list(_META))


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array(chain((0,), accumulate(lengths)), pa.int32())


def _sparse(values: Mapping[int, str], count: int) -> pa.Array:
    """Return a column of texts, null where there is none."""
    return pa.array([values.get(row) for row in range(count)], TEXT) if values else pa.nulls(count, TEXT)


def _list_column(values: Mapping[int, Sequence[Any]], count: int, kind: pa.DataType) -> pa.Array:
    """Return a column of lists, empty where there is none."""
    lengths = [0] * count
    for row, items in values.items():
        lengths[row] = len(items)
    inner = pa.array([item for items in values.values() for item in items], kind.value_type)
    return pa.ListArray.from_arrays(_offsets(lengths), inner, type=kind)
