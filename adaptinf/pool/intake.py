"""Adding a dataset to the pool: rows from a reader become an immutable Hugging Face `datasets` folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import xxhash

from adaptinf.data import Rejected, Sample
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.reading import REPEATED_ID, broken_file
from adaptinf.images.contents import ImageContent
from adaptinf.pool.image_file import IMAGES_FILE, ImageWriter, reference_to
from adaptinf.progress import Progress, Silent
from adaptinf.storage import store, tables

STAGE = "pool"
"""Name of the stage in which a dataset joins the pool."""
DATA_FILE = "data-00000-of-00001.arrow"
"""Name that `datasets` gives to the only file of an unsharded dataset."""
STATE_FILE = "state.json"
"""What `datasets` needs to open the folder; its `_fingerprint` is a hash of all rows."""
FINGERPRINT = "_fingerprint"
REPAIRED_FILE = "repaired.jsonl"
"""File of a dataset's folder: what the reader repaired, one line per sample."""
ALLOW_BROKEN = (
    "correct the file, or keep the rows before the break with allow_broken: true at its entry of stream "
    "(adaptinf add --allow-broken)"
)
"""What to do about a file that cannot be read to its end."""

# `datasets` writes this many rows per batch; the writer holds one batch in memory, which large rows end earlier.
_ROWS_PER_BATCH = 1000
_BYTES_PER_BATCH = 64 * 2**20
_NAME = re.compile(r"[\w][\w.-]*(?<!\.part)")


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
    """Write dataset number `index` into the folder `part` and return its info.json; the caller renames the folder.

    Args:
        pool_folder: where the finished datasets are.
        index: number of the step that the dataset arrives at.
        name: the dataset's name, which is the source of all its samples.
        rows: what `formats.read` yields; read one at a time.
        images: reference stores absolute paths; copy copies each image into the folder once, named by its content.
            Images that stand in the rows go into the folder's images file either way.
        on_bad_row: reject lists bad rows in rejected.jsonl; stop raises at the first one.
        allow_broken: whether a file that cannot be read to its end gives the rows before the break.
        part: the unfinished folder.
        progress: shows the rows as they are read.
        origin: entries of info.json on where the rows come from: path, images, format.

    Raises:
        ConfigError: the name is in use, or cannot be the name of a folder.
        DataError: a bad row under `on_bad_row: stop`, a file that is broken, or an image that cannot be copied.
    """
    _check_name(pool_folder, name)
    part.mkdir(parents=True, exist_ok=True)
    with (
        closing(ImageWriter(part / IMAGES_FILE)) as contents,
        (progress or Silent()).stage(f"add {name}", None, "rows") as bar,
        _Writer(part, ImageStore(part / "images" if images == "copy" else None, contents)) as writer,
        (part / store.REJECTED).open("w", encoding="utf-8") as rejected,
        (part / REPAIRED_FILE).open("w", encoding="utf-8") as repaired,
    ):
        counts = _Counts()
        for row in rows:
            if isinstance(row, Rejected):
                if row.ends_file and not allow_broken:
                    raise DataError(f"{name}: {broken_file(row)}; {ALLOW_BROKEN}")
                _refuse(row, rejected, on_bad_row)
            else:
                assert row.source == name, f"sample {row.id} belongs to {row.source}, not to {name}"
                writer.add(row)
                _note(row, repaired)
            counts.add(row)
            bar.advance()
    num_bytes = writer.image_store.num_bytes + contents.num_bytes
    info = {"name": name, "index": index, **counts.as_info(), "pictures": images, "bytes_of_pictures": num_bytes}
    tables.write_json(part / store.INFO, {**info, **origin})
    return {**info, **origin}


def content_of(folder: Path) -> str | None:
    """Return the hash of all rows of a dataset's folder; None where its state.json has none.

    Raises:
        StoreError: state.json is missing or damaged.
    """
    state = tables.read_json(folder / STATE_FILE)
    found = state.get(FINGERPRINT) if isinstance(state, dict) else None
    return found if isinstance(found, str) else None


def content_of_rows(
    rows: Iterable[Sample | Rejected], *, images: Literal["reference", "copy"], on_row: Callable[[], None]
) -> str:
    """Return the hash that a dataset of these rows would have, without writing one."""
    content, image_store = xxhash.xxh3_128(), _ImageNames(Path("images") if images == "copy" else None)
    for row in rows:
        if isinstance(row, Sample):
            _hash(content, _row(row, image_store))
        on_row()
    return _shown(content)


def _hash(content: xxhash.xxh3_128, row: dict[str, Any]) -> None:
    content.update(json.dumps(row).encode())


def _shown(content: xxhash.xxh3_128) -> str:
    return content.hexdigest()[:16]


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


@dataclass
class _Counts:
    rows: int = 0
    rejected: int = 0
    repaired: int = 0
    repeated_ids: int = 0
    reduced: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    scalings: Counter[str] = field(default_factory=Counter)

    def as_info(self) -> dict[str, Any]:
        """Return the counts as info.json holds them."""
        named = {"unread": dict(self.unread.most_common()), "scalings": dict(self.scalings.most_common())}
        return {**asdict(self), **named}

    def add(self, row: Sample | Rejected) -> None:
        if isinstance(row, Rejected):
            self.rejected += 1
            return
        self.rows += 1
        self.repaired += bool(row.notes)
        self.reduced += bool(row.reductions)
        self.unread.update(row.unread)
        self.scalings.update(row.scalings)
        self.repeated_ids += any(note.startswith(REPEATED_ID) for note in row.notes)


def _refuse(row: Rejected, file: IO[str], on_bad_row: str) -> None:
    if on_bad_row == "stop":
        hint = "correct the row, or set data.on_bad_row=reject to continue without such rows"
        raise DataError(f"{row.file} row {row.row}: {row.reason}; {hint}")
    file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def _note(sample: Sample, file: IO[str]) -> None:
    if sample.notes:
        file.write(json.dumps({"id": sample.id, "notes": sample.notes}, ensure_ascii=False) + "\n")


@dataclass
class ImageStore:
    """Gives the path to store for each image: its own, or that of a copy; each content is copied once."""

    folder: Path | None
    """Folder for the copies; None: nothing is copied."""
    writer: ImageWriter | None = None
    """Takes the images that are no files; None: nothing is written."""
    num_bytes: int = 0
    """Bytes of all copies."""
    names: dict[Path, str] = field(default_factory=dict)
    contents: set[str] = field(default_factory=set)

    def stored(self, path: Path | ImageContent) -> str:
        """Return the path to store for an image, after copying it where copies are wanted."""
        if isinstance(path, ImageContent):
            return self.writer.add(path) if self.writer else self._written(path)
        if self.folder is None:
            return str(path.absolute())
        if path not in self.names:
            self.names[path] = self._copied(path, self.folder)
        return f"{self.folder.name}/{self.names[path]}"

    def _written(self, image: ImageContent) -> str:
        if self.folder is None:
            return reference_to(image)
        if str(image) not in self.contents:
            self.folder.mkdir(exist_ok=True)
            (self.folder / str(image)).write_bytes(image.read())
            self.contents.add(str(image))
        return f"{self.folder.name}/{image}"

    def _copied(self, path: Path, folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        unfinished = folder / "unfinished.part"
        try:
            shutil.copyfile(path, unfinished)
        except OSError as error:
            raise DataError(f"image {path} cannot be copied ({error})") from error
        with unfinished.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest() + path.suffix
        self.num_bytes += 0 if name in self.contents else unfinished.stat().st_size
        self.contents.add(name)
        unfinished.replace(folder / name)
        return name


class _ImageNames(ImageStore):
    """Gives the same paths, and copies nothing."""

    def _copied(self, path: Path, folder: Path) -> str:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() + path.suffix
        except OSError as error:
            raise DataError(f"image {path} cannot be read ({error})") from error


class _Writer:
    """Writes the Arrow stream, state.json and dataset_info.json that `datasets.load_from_disk` opens."""

    def __init__(self, folder: Path, image_store: ImageStore) -> None:
        self.folder = folder
        self.image_store = image_store
        self.waiting: list[dict[str, Any]] = []
        self.num_waiting_bytes = 0
        self.content = xxhash.xxh3_128()

    def __enter__(self) -> _Writer:
        self.features = _features()
        self.stream = pa.ipc.new_stream(str(self.folder / DATA_FILE), self.features.arrow_schema)
        return self

    def add(self, sample: Sample) -> None:
        row = _row(sample, self.image_store)
        text = json.dumps(row).encode()
        self.content.update(text)
        self.waiting.append(row)
        self.num_waiting_bytes += len(text)
        if len(self.waiting) == _ROWS_PER_BATCH or self.num_waiting_bytes > _BYTES_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            self.stream.write_batch(pa.RecordBatch.from_pylist(self.waiting, schema=self.features.arrow_schema))
            self.waiting, self.num_waiting_bytes = [], 0

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
            self._describe()
        self.stream.close()

    def _describe(self) -> None:
        from datasets import DatasetInfo

        DatasetInfo(features=self.features).write_to_directory(str(self.folder))
        state: dict[str, Any] = {
            "_data_files": [{"filename": DATA_FILE}],
            FINGERPRINT: _shown(self.content),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        tables.write_json(self.folder / STATE_FILE, state)


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


def _row(sample: Sample, image_store: ImageStore) -> dict[str, Any]:
    named = {key: sample.meta[key] for key in ("skill", "task") if isinstance(sample.meta.get(key), str)}
    extra = {key: value for key, value in sample.meta.items() if key not in named}
    return {
        "id": sample.id,
        "messages": list(sample.messages),
        "images": [image_store.stored(path) for path in sample.images],
        "source": sample.source,
        "meta": {"skill": None, "task": None, **named, "extra": json.dumps(extra) if extra else None},
        "unlearnt": list(sample.unlearnt),
        "tools": json.dumps(sample.tools) if sample.tools else None,
        "tags": list(sample.tags),
        "reductions": list(sample.reductions),
    }
