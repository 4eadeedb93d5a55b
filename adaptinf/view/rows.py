"""The rows of the explorer: every sample that has arrived by a step, pruned ones too, in order of arrival.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adaptinf.data import Sample
from adaptinf.pool import StoredDataset

TEXT_CHARACTERS = 4_000
"""Characters of one turn that the page gets; a search on this machine reads all of them."""
TURNS = 40
"""Turns of one conversation that the page gets."""
IMAGES = 8
"""Images of one sample that the page gets."""
_NULL = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The datasets one after another; row numbers count through all of them."""

    datasets: tuple[StoredDataset, ...]
    """In order of arrival."""

    @cached_property
    def starts(self) -> list[int]:
        """Row of the first sample of each dataset, and N at the end."""
        return [0, *accumulate(dataset.table.num_rows for dataset in self.datasets)]

    def __len__(self) -> int:
        return self.starts[-1]

    @cached_property
    def ids(self) -> pa.ChunkedArray:
        """N ids, memory-mapped."""
        chunks = [chunk for dataset in self.datasets for chunk in dataset.table["id"].chunks]
        return pa.chunked_array(chunks, pa.string())

    def rows(self, ids: np.ndarray | pa.ChunkedArray) -> np.ndarray:
        """Return the row of each id, int64; -1 for one that no dataset has."""
        wanted = ids.cast(pa.large_string()) if isinstance(ids, pa.ChunkedArray) else pa.array(ids, pa.large_string())
        found = pc.fill_null(pc.index_in(wanted, value_set=self._known), _NULL)
        return np.asarray(found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy())

    @cached_property
    def _known(self) -> pa.LargeStringArray:
        """The ids in one array, whose offsets are long, as the texts of all may have more than 2 GB together."""
        return self.ids.cast(pa.large_string()).combine_chunks()

    def per_dataset(self, values: Sequence[Any]) -> np.ndarray:
        """Return N values of one for each dataset."""
        return np.repeat(np.asarray(values), np.diff(self.starts))

    def place(self, row: int) -> tuple[StoredDataset, int]:
        """Return the dataset of a row, and the row in it."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.datasets[number], row - self.starts[number]

    def sample(self, row: int) -> Sample:
        """Return a sample."""
        dataset, inside = self.place(row)
        return dataset.sample(inside)

    def records(self, start: int, stop: int, images: ImageNumbers) -> list[dict[str, Any]]:
        """Return what the page shows of some rows: id, turns, numbers of images; long texts are cut."""
        found = list[dict[str, Any]]()
        for number, dataset in enumerate(self.datasets):
            first, last = max(start, self.starts[number]), min(stop, self.starts[number + 1])
            if first < last:
                inside = first - self.starts[number]
                part = dataset.table.slice(inside, last - first).select(["id", "messages"]).to_pylist()
                numbers = images.of_rows(number, inside, last - self.starts[number])
                found += [_record(row, own) for row, own in zip(part, numbers, strict=True)]
        return found

    def matching(self, text: str) -> np.ndarray:
        """Return the rows whose id or any text contains a text, whatever the case of its letters, ascending int64."""
        found = [np.zeros(0, np.int64)]
        for dataset, start in zip(self.datasets, self.starts, strict=False):
            at = start
            for batch in dataset.table.to_batches():
                found.append(at + _matching(batch, text))
                at += batch.num_rows
        return np.concatenate(found)

    def num_cut(self) -> int:
        """Return how many texts are longer than the page gets."""
        return sum(
            int(pc.sum(pc.greater(pc.utf8_length(_texts(batch)[0]), TEXT_CHARACTERS)).as_py() or 0)
            for dataset in self.datasets
            for batch in dataset.table.to_batches()
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageNumbers:
    """The distinct images of all rows, numbered."""

    rows: Rows
    """The rows."""

    @cached_property
    def _coded(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Of each dataset: where the images of each row begin, number of each image, first place of each, how many."""
        found = []
        for dataset in self.rows.datasets:
            column = dataset.table["images"].combine_chunks()
            column = column if isinstance(column, pa.ListArray) else pa.concat_arrays(column.chunks)
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
            paths = column.flatten().dictionary_encode()
            codes = paths.indices.to_numpy(zero_copy_only=False).astype(np.int64)
            firsts = np.unique(codes, return_index=True)[1]
            found.append((np.concatenate([[0], np.cumsum(lengths)]), codes, firsts, len(paths.dictionary)))
        return found

    @cached_property
    def _bases(self) -> list[int]:
        return [0, *accumulate(count for _, _, _, count in self._coded)]

    def __len__(self) -> int:
        return self._bases[-1]

    def of_rows(self, dataset: int, start: int, stop: int) -> Iterator[list[int]]:
        """Yield the numbers of the images of some rows of a dataset."""
        offsets, codes, _, _ = self._coded[dataset]
        for row in range(start, stop):
            yield (self._bases[dataset] + codes[offsets[row] : offsets[row + 1]]).tolist()

    def first_row(self, number: int) -> tuple[int, int]:
        """Return the first row that has an image, and its position among the images of that row."""
        dataset = int(np.searchsorted(self._bases, number, side="right")) - 1
        offsets, _, firsts, _ = self._coded[dataset]
        place = int(firsts[number - self._bases[dataset]])
        row = int(np.searchsorted(offsets, place, side="right")) - 1
        return self.rows.starts[dataset] + row, place - int(offsets[row])


def _record(row: dict[str, Any], images: list[int]) -> dict[str, Any]:
    turns = [(turn["role"], _text_of(turn["content"])) for turn in row["messages"][:TURNS]]
    is_cut = len(row["messages"]) > TURNS or any(len(text) > TEXT_CHARACTERS for _, text in turns)
    return {
        "id": row["id"],
        "turns": [[role, text[:TEXT_CHARACTERS]] for role, text in turns],
        "images": images[:IMAGES],
        **({"cut": True} if is_cut else {}),
        **({"more_images": len(images) - IMAGES} if len(images) > IMAGES else {}),
    }


def _text_of(blocks: list[dict[str, str | None]]) -> str:
    return " ".join(block["text"] or "" for block in blocks if block["type"] != "image").strip()


def _texts(batch: pa.RecordBatch) -> tuple[pa.Array, np.ndarray]:
    """Return all texts of a batch, and the row of each."""
    messages = batch.column("messages")
    turn_rows = pc.list_parent_indices(messages)
    content = pc.struct_field(messages.flatten(), "content")
    block_turns = pc.list_parent_indices(content)
    texts = pc.fill_null(pc.struct_field(content.flatten(), "text"), "")
    return texts, turn_rows.take(block_turns).to_numpy(zero_copy_only=False)


def _matching(batch: pa.RecordBatch, text: str) -> np.ndarray:
    texts, rows = _texts(batch)
    in_texts = pc.match_substring(texts, text, ignore_case=True).to_numpy(zero_copy_only=False)
    in_ids = pc.match_substring(batch.column("id"), text, ignore_case=True).to_numpy(zero_copy_only=False)
    return np.union1d(rows[in_texts], np.flatnonzero(in_ids)).astype(np.int64)
