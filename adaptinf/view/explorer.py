"""Everything that the page asks for, by its path: the same for the server and for a folder that is exported.

view.json             the run, the step, the columns, what is missing
places.bin            float32, x and y of each row
neighbours.bin        int32, rows of the neighbours of each row
columns/K.bin         values or codes of a column
rows/K.json           texts and images of CHUNK_ROWS rows
ids/K.json            ids of ID_ROWS rows, as lines of a file of ids
tests.json            test items, predictions and scores
rejected.json         rows that were not used
thumbs/K.jpg          an image, small
images/K.jpg          the same, large; only of a server
search?q=TEXT         rows with a text, int32; only of a server
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

import numpy as np

import adaptinf
from adaptinf.data import Clusters, Evaluation, Features, SampleMap
from adaptinf.errors import ConfigError, StoreError
from adaptinf.images import StoredImage
from adaptinf.pipeline.mapping import can_be_made, compute_map, make_map
from adaptinf.pool import stored_datasets
from adaptinf.pool.id_lists import as_line
from adaptinf.runs import Run
from adaptinf.runs.damage import check_datasets
from adaptinf.runs.layout import VIEW
from adaptinf.storage import lock, tables
from adaptinf.view.columns import Column, columns_of
from adaptinf.view.rows import ImageNumbers, Rows
from adaptinf.view.tables import rejected_table, tests_table
from adaptinf.view.thumbnails import Thumbnails

CHUNK_ROWS = 200
"""Rows of one file of texts: about 60 KB."""
ID_ROWS = 20_000
"""Rows of one file of ids."""
MAX_SEARCHED = 1_000
"""Characters of a text that is searched for."""
JSON, BINARY, JPEG = "application/json", "application/octet-stream", "image/jpeg"
_CHUNK = re.compile(r"(columns|rows|ids|thumbs|images)/(0|[1-9][0-9]{0,9})\.(?:bin|json|jpg)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Explorer:
    """The pool of one step, as the page shows it."""

    run: Run
    """The run."""
    step: int
    """The step, from 0."""
    rows: Rows
    """Every sample that has arrived by it."""
    columns: list[Column]
    """What is known of each."""
    map: SampleMap | None
    """Its map; None: there is none."""
    why_no_map: str
    """Why, as a sentence; empty where there is one."""

    @classmethod
    def open(cls, run: Run, step: int | None) -> Explorer:
        """Return the explorer of a finished step, None: of the last one; its map is made if it has none.

        Raises:
            ConfigError: there is no such step, or it is not finished.
            StoreError: a file of the run is damaged.
        """
        step = _checked(run, step)
        check_datasets(run)
        rows = Rows(datasets=tuple(one for one in stored_datasets(run.pool_folder) if one.index <= step))
        with run.plugins():
            found = _map_of(run, step)
        why = "" if found is not None else _why_no_map(run, step)
        return cls(run=run, step=step, rows=rows, columns=columns_of(run, step, rows), map=found, why_no_map=why)

    @cached_property
    def images(self) -> ImageNumbers:
        """The distinct images of all rows."""
        return ImageNumbers(rows=self.rows)

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """Makes and keeps thumbnails."""
        return Thumbnails(folder=self.run.folder / VIEW, find=self._image)

    def _image(self, number: int) -> StoredImage:
        row, position = self.images.first_row(number)
        return self.rows.sample(row).stored_images[position]

    def description(self, *, is_static: bool, notes: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return view.json."""
        made = {} if self.map is None else {**self.map.info, "neighbours": self.map.neighbours.shape[1]}
        return {
            "version": adaptinf.__version__,
            "run": self.run.folder.resolve().name,
            "method": self.run.config.selection.method,
            "step": self.step,
            "dataset": self.run.config.stream[self.step].name,
            "num_steps": len(self.run.config.stream),
            "num_rows": len(self.rows),
            "chunk_rows": CHUNK_ROWS,
            "id_rows": ID_ROWS,
            "is_static": is_static,
            "map": made or None,
            "why_no_map": self.why_no_map,
            "columns": [column.described(number) for number, column in enumerate(self.columns)],
            "notes": list(notes),
        }

    def places(self) -> bytes:
        """Return places.bin: N x 2 float32, NaN for a row that is not on the map."""
        found = np.full((len(self.rows), 2), np.nan, "<f4")
        if self.map is not None:
            at = self.rows.rows(self.map.ids)
            found[at[at >= 0]] = self.map.places[at >= 0]
        return found.tobytes()

    def neighbours(self) -> bytes:
        """Return neighbours.bin: N x B int32 rows, -1: there are no more."""
        if self.map is None:
            return b""
        at = self.rows.rows(self.map.ids)
        found = np.full((len(self.rows), self.map.neighbours.shape[1]), -1, "<i4")
        known = self.map.neighbours
        found[at[at >= 0]] = np.where(known >= 0, at[known], -1)[at >= 0]
        return found.tobytes()

    def num_chunks(self, size: int) -> int:
        """Return how many files of such a number of rows there are."""
        return -(-len(self.rows) // size)

    def fixed(self) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of every file but view.json and thumbnails, for an export."""
        paths = ["places.bin", "neighbours.bin", "tests.json", "rejected.json"]
        paths += [f"columns/{number}.bin" for number in range(len(self.columns))]
        paths += [f"rows/{number}.json" for number in range(self.num_chunks(CHUNK_ROWS))]
        paths += [f"ids/{number}.json" for number in range(self.num_chunks(ID_ROWS))]
        for path in paths:
            content = self.content(path)
            assert content is not None
            yield path, content[1]

    def content(self, path: str, query: str = "") -> tuple[str, bytes] | None:
        """Return the type and the content of a path; None where nothing stands there."""
        if path == "view.json":
            return JSON, _json(self.description(is_static=False))
        if path in ("places.bin", "neighbours.bin"):
            return BINARY, self.places() if path == "places.bin" else self.neighbours()
        if path in ("tests.json", "rejected.json"):
            return JSON, _json(self._tests if path == "tests.json" else self._rejected)
        if path == "search":
            return BINARY, self._found(query)
        match = _CHUNK.fullmatch(path)
        return None if match is None else self._chunk(match[1], int(match[2]))

    def _chunk(self, kind: str, number: int) -> tuple[str, bytes] | None:
        if kind == "columns":
            return (BINARY, self.columns[number].values.tobytes()) if number < len(self.columns) else None
        if kind in ("thumbs", "images"):
            if number >= len(self.images):
                return None
            made = self.thumbnails.small(number) if kind == "thumbs" else self.thumbnails.large(number)
            return None if made is None else (JPEG, made)
        size = CHUNK_ROWS if kind == "rows" else ID_ROWS
        start, stop = number * size, min((number + 1) * size, len(self.rows))
        if start >= stop:
            return None
        if kind == "rows":
            return JSON, _json(self.rows.records(start, stop, self.images))
        return JSON, _json([as_line(id) for id in self.rows.ids.slice(start, stop - start).to_pylist()])

    def _found(self, query: str) -> bytes:
        text = parse_qs(query).get("q", [""])[0][:MAX_SEARCHED]
        return (self.rows.matching(text) if text else np.zeros(0, np.int64)).astype("<i4").tobytes()

    @cached_property
    def _tests(self) -> dict[str, Any]:
        return tests_table(self.run.load(self.step, Evaluation))

    @cached_property
    def _rejected(self) -> dict[str, Any]:
        return rejected_table(self.rows.datasets, self.run.load(self.step, Evaluation))


def _json(value: Any) -> bytes:
    return tables.as_json_text(value).encode("utf-8", "replace")


def _checked(run: Run, step: int | None) -> int:
    """Return the step that is shown.

    Raises:
        ConfigError: it is not finished.
    """
    num_finished = run.num_finished
    if not num_finished:
        raise ConfigError(f"{run.folder} has no finished step to explore; adaptinf view {run.folder} --live watches it")
    if step is None:
        return num_finished - 1
    if not 0 <= step < num_finished:
        raise ConfigError(f"step {step} of {run.folder} is not finished; steps 0 to {num_finished - 1} are")
    return step


def _map_of(run: Run, step: int) -> SampleMap | None:
    """Return the map of a step, made if need be; kept, unless another process works on the run or it is read-only."""
    if run.has(step, SampleMap) or not can_be_made(run, step):
        return make_map(run, step)
    try:
        with lock.held(run.folder):
            return make_map(run, step)
    except (StoreError, OSError) as error:
        # What is damaged is found again below; what is left is a run in use, and a folder that can only be read.
        found = compute_map(run, step)
        run.progress.note(f"the map is made for now, and not kept ({error})")
        return found


def _why_no_map(run: Run, step: int) -> str:
    if run.has(step, Features, Clusters):
        return f"The vectors of step {step} were dropped before a map was made; extraction.keep: all keeps them."
    return f"{run.config.selection.method} selects without vectors, so there is no map; the tables have every sample."
