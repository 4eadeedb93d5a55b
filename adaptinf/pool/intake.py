"""Adding a dataset to the pool: its chunks, read one by one, become an immutable Hugging Face `datasets` folder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from adaptinf import __version__, registry
from adaptinf.data import Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.executors import watched
from adaptinf.executors.interface import OpenReaders, ReadPaths
from adaptinf.executors.processes import open_readers
from adaptinf.formats.reading import Reading, broken_file, num_rows
from adaptinf.formats.rows import Draft, Item
from adaptinf.pool.chunk_results import (
    CHUNKS,
    IMAGE_FOLDER,
    MADE_OF,
    ChunkResult,
    ChunkWork,
    chunk_folder,
    image_store,
    write_chunk,
    write_items,
)
from adaptinf.pool.columns import Columns
from adaptinf.pool.content import ContentHash, former_hash, is_former, rows_of
from adaptinf.pool.image_store import ImageNames
from adaptinf.pool.merging import DATA_FILE, Merge, without_numbers
from adaptinf.progress import Bar, Progress, Silent
from adaptinf.sources import fingerprints
from adaptinf.sources.chunks import Chunk
from adaptinf.storage import store, tables

STAGE = "pool"
"""Name of the stage in which a dataset joins the pool."""
STATE_FILE = "state.json"
"""What `datasets` needs to open the folder; its `_fingerprint` is a hash of all rows."""
FINGERPRINT = "_fingerprint"
ALLOW_BROKEN = (
    "correct the file, or keep the rows before the break with allow_broken: true at its entry of stream "
    "(adaptinf add --allow-broken)"
)
"""What to do about a file that cannot be read to its end."""

# In the text of an object; it is another one in every process.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NAME = re.compile(r"[\w][\w.-]*(?<!\.part)")


def add_chunks(
    pool_folder: Path,
    index: int,
    reading: Reading,
    *,
    images: Literal["reference", "copy"],
    on_bad_row: Literal["reject", "stop"],
    allow_broken: bool = False,
    part: Path,
    progress: Progress | None = None,
    origin: Mapping[str, Any],
    readers: OpenReaders = open_readers,
) -> dict[str, Any]:
    """Write dataset number `index` into the folder `part` and return its info.json; the caller renames the folder.

    Its chunks are read on all cores, and by the machines of a Ray cluster. Those that a killed call has finished are
    taken as they are, unless the files or the settings have changed since. The same rows give the same bytes, however
    often the work began.

    Args:
        pool_folder: where the finished datasets are.
        index: number of the step that the dataset arrives at.
        reading: how to read the dataset; its name is the source of all its samples.
        images: reference stores absolute paths; copy copies each image into the folder once, named by its content.
            Images that stand in the rows go into the folder's images file either way.
        on_bad_row: reject lists bad rows in rejected.jsonl; stop raises at the first one.
        allow_broken: whether a file that cannot be read to its end gives the rows before the break.
        part: the unfinished folder.
        progress: shows the rows as they are read.
        origin: entries of info.json on where the rows come from: path, images, format.
        readers: opens the work in workers, as `open_readers` does, which stays on this machine.

    Raises:
        ConfigError: the name is in use, or cannot be the name of a folder.
        DataError: a bad row under `on_bad_row: stop`, a file that is broken, or an image that cannot be copied.
        StoreError: a worker process died.
    """
    _check_name(pool_folder, reading.source)
    _begin(part, reading, images)
    work = ChunkWork(reading=reading, part=part.absolute(), images=images, stops=on_bad_row == "stop")
    merge = Merge(part, reading.source)
    with (progress or Silent()).stage(f"add {reading.source}", num_rows(reading.chunks), "rows") as bar:
        for result in _results(work, bar, readers):
            _check(merge.bad_row(result), reading.source, on_bad_row, allow_broken)
            merge.add(result)
    return _merged(merge, index, images, origin)


def _results(work: ChunkWork, bar: Bar, readers: OpenReaders) -> Iterator[ChunkResult]:
    """Yield the results of all chunks in order; those that are not there yet are made."""
    known = {chunk.number: _known(work.part, chunk) for chunk in work.reading.chunks}
    wanted = [chunk for chunk in work.reading.chunks if known[chunk.number] is None]
    number = len(wanted) if work.reading.is_much(wanted) else 1
    reads = ReadPaths(work.part, work.reading.local_paths)
    with readers(work, number, bar.advance, reads) as workers:
        made = watched(workers, write_chunk, wanted, bar)
        for found in known.values():
            if found is not None:
                bar.advance(found.counts.rows + found.counts.rejected)
            yield next(made) if found is None else found


def _known(part: Path, chunk: Chunk) -> ChunkResult | None:
    """Return the result of a chunk that a killed call has finished; None where it is to be read (again)."""
    folder = chunk_folder(part, chunk.number)
    if not folder.exists():
        return None
    found = ChunkResult.load(folder)
    if not found.has_bad_images:
        return found
    shutil.rmtree(folder)
    return None


def _begin(part: Path, reading: Reading, images: str) -> None:
    """Remove what another dataset, or the same one with other files or settings, has left in an unfinished folder."""
    plugins = registry.fingerprint()
    made_of = {
        "adaptinf": __version__,
        "files": fingerprints(reading.found),
        "rows": [shard.members_hash for shard in reading.found.shards],
        "chunks": [[chunk.shard, chunk.part] for chunk in reading.chunks],
        "source": reading.source,
        "format": _ADDRESS.sub("", repr(reading.plugin)),
        "plugins": dict(plugins.files),
        "folders": [str(folder) for folder in (*reading.folders, *reading.roots)],
        "images": [images, reading.check_images, reading.max_pixels],
        "max_row_bytes": reading.max_row_bytes,
    }
    file = part / CHUNKS / MADE_OF
    if file.exists() and tables.read_json(file) == json.loads(tables.as_json_text(made_of)):
        return
    _clear(part)
    file.parent.mkdir(parents=True)
    store.write_json_whole(file, made_of)


def _clear(part: Path) -> None:
    """Remove chunks and copies of images from an unfinished folder; its other files are written over."""
    for name in (CHUNKS, IMAGE_FOLDER):
        shutil.rmtree(part / name, ignore_errors=True)


def _check(bad: Rejected | None, name: str, on_bad_row: str, allow_broken: bool) -> None:
    """Refuse a dataset with a row that ends the work."""
    if bad is None:
        return
    if bad.ends_file and not allow_broken:
        raise DataError(f"{name}: {broken_file(bad)}; {ALLOW_BROKEN}")
    if on_bad_row == "stop":
        hint = "correct the row, or set data.on_bad_row=reject to continue without such rows"
        raise DataError(f"{bad.file} row {bad.row}: {bad.reason}; {hint}")


def add_dataset(
    pool_folder: Path,
    index: int,
    name: str,
    rows: Iterable[Sample | Rejected],
    *,
    images: Literal["reference", "copy"],
    on_bad_row: Literal["reject", "stop"],
    allow_broken: bool = False,
    part: Path,
    progress: Progress | None = None,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Do what `add_chunks` does with rows that are read already, as `formats.read` yields them."""
    _check_name(pool_folder, name)
    _clear(part)
    part.mkdir(parents=True, exist_ok=True)
    merge = Merge(part, name)
    with (progress or Silent()).stage(f"add {name}", None, "rows") as bar:
        items = _items(rows, name, bar.advance)
        stops = on_bad_row == "stop"
        chunk = Chunk(number=0, shard=0, name=str(origin.get("path", name)))
        result = write_items(items, chunk, part, source=name, images=image_store(part, images), stops=stops)
        _check(merge.bad_row(result), name, on_bad_row, allow_broken)
        merge.add(result)
    return _merged(merge, index, images, origin)


def _items(rows: Iterable[Sample | Rejected], name: str, on_row: Callable[[], None]) -> Iterator[Item]:
    for number, row in enumerate(rows):
        if isinstance(row, Sample):
            assert row.source == name, f"sample {row.id} belongs to {row.source}, not to {name}"
            yield Draft(number, row.id.removeprefix(f"{name}/"), row, len(row.notes))
        else:
            yield row
        on_row()


def _merged(merge: Merge, index: int, images: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Write the dataset's files from those of its chunks, and return its info.json."""
    features = _features()
    content = ContentHash()
    merge.write(features.arrow_schema, content)
    _describe(merge.part, features, content.hexdigest())
    info = {
        "name": merge.source,
        "index": index,
        **merge.counts.as_info(),
        "pictures": images,
        "bytes_of_pictures": merge.num_image_bytes,
        "shards": merge.shards,
        **origin,
    }
    tables.write_json(merge.part / store.INFO, info)
    # Last: a call that is killed before goes on with them.
    shutil.rmtree(merge.part / CHUNKS)
    return info


def content_of(folder: Path) -> str | None:
    """Return the hash of all rows of a dataset's folder; None where its state.json has none.

    Raises:
        StoreError: state.json is missing or damaged.
    """
    state = tables.read_json(folder / STATE_FILE)
    found = state.get(FINGERPRINT) if isinstance(state, dict) else None
    return found if isinstance(found, str) else None


def comparable_content_of(folder: Path, recorded: str | None) -> str | None:
    """Return the hash of a dataset's folder, as an earlier version made it where the recorded one is from there."""
    found = content_of(folder)
    if recorded is None or found is None or not is_former(recorded) or is_former(found):
        return found
    with pa.memory_map(str(folder / DATA_FILE)) as file:
        return former_hash(rows_of(pa.ipc.open_stream(file)))


def content_of_rows(
    rows: Iterable[Sample | Rejected],
    *,
    images: Literal["reference", "copy"],
    on_row: Callable[[], None],
    former: bool = False,
) -> str:
    """Return the hash that a dataset of these rows would have, without writing one.

    Args:
        rows: what `formats.read` yields.
        images: as for `add_chunks`.
        on_row: called after each row.
        former: whether to return the hash of earlier versions.
    """
    batches = _batches(rows, ImageNames(Path(IMAGE_FOLDER) if images == "copy" else None), on_row)
    if former:
        return former_hash(rows_of(batches))
    content = ContentHash()
    for batch in batches:
        content.add(batch)
    return content.hexdigest()


def _batches(
    rows: Iterable[Sample | Rejected], image_names: ImageNames, on_row: Callable[[], None]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that are samples as a dataset has them."""
    columns: Columns | None = None
    for row in rows:
        on_row()
        if isinstance(row, Rejected):
            continue
        columns = columns or Columns(row.source)
        columns.add(row, row.id, 0, [image_names.stored(image) for image in row.images])
        if columns.is_full:
            yield without_numbers(columns.batch())
    if columns:
        yield without_numbers(columns.batch())


def _check_name(pool_folder: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"dataset name {name!r} cannot be the name of a folder; use letters, digits, '_', '-' and '.'"
        )
    for folder in pool_folder.glob(f"*-{name}"):
        if folder.name.partition("-")[0].isdigit() and folder.name.partition("-")[2] == name:
            raise ConfigError(
                f"the pool already has a dataset called {name!r} ({folder}); give the new one another name"
            )


def _features() -> Any:
    """Return the columns of a dataset; Any, because `datasets` is imported here only: its import takes a second."""
    from datasets import Features, Value

    text = Value("string")
    return Features(
        {
            "id": text,
            "messages": [{"role": text, "content": [{"type": text, "text": text}]}],
            "images": [text],
            "source": text,
            "meta": {"skill": text, "task": text, "extra": text},
            "unlearnt": [Value("int64")],
            "tools": text,
            "tags": [text],
            "reductions": [Value("int64")],
        }
    )


# Any: `datasets` is imported here only, as its import takes a second.
def _describe(folder: Path, features: Any, content: str) -> None:
    """Write what `datasets.load_from_disk` needs beside the rows."""
    from datasets import DatasetInfo

    DatasetInfo(features=features).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": DATA_FILE}],
        FINGERPRINT: content,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    tables.write_json(folder / STATE_FILE, state)
