"""Datasets of a few rows in the shapes that people publish, made with `datasets`, pyarrow, tarfile and csv."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from datasets import Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as PIL

NUM_ROWS = 9


class Exchange(NamedTuple):
    """What a sample must hold, whatever its source looks like."""

    question: str
    answer: str
    images: tuple[str, ...] = ()
    """SHA-256 of each image's bytes."""


class Published(NamedTuple):
    """A dataset as it lies on disk, and what is in it."""

    entry: dict[str, Any]
    """Its keys for an entry of `stream:`, without a name."""
    exchanges: tuple[Exchange, ...]
    """One per row, in the order of the rows."""


def png(number: int) -> bytes:
    """Return a picture of 32 x 32 pixels, another one for every number."""
    file = io.BytesIO()
    PIL.new("RGB", (32, 32), (20 * number % 256, 90, 255 - 20 * number % 256)).save(file, "PNG")
    return file.getvalue()


def exchange(number: int, images: Sequence[int] = ()) -> Exchange:
    """Return the question and answer of a row, with the digests of its images."""
    digests = tuple(hashlib.sha256(png(image)).hexdigest() for image in images)
    return Exchange(f"How many of {number}?", f"{number} things", digests)


def finevision(folder: Path) -> Published:
    """Three Parquet shards: `images` (a list of Image), `texts: [{user, assistant}]`, ratings; one row of text only."""
    found = []
    for number in range(NUM_ROWS):
        found.append([] if number == 4 else [0, number] if number == 5 else [number % 3])
    rows = [
        {
            "images": [{"bytes": png(image), "path": None} for image in images],
            "texts": [_texts(number)],
            "source": "toy",
            "relevance_ratings": [number % 5 + 1],
        }
        for number, images in enumerate(found)
    ]
    features = Features(
        {
            "images": List(Image()),
            "texts": List({"user": Value("string"), "assistant": Value("string")}),
            "source": Value("string"),
            "relevance_ratings": List(Value("int64")),
        }
    )
    _shards(rows, features, folder)
    return Published({"path": str(folder)}, tuple(exchange(number, images) for number, images in enumerate(found)))


def onevision(folder: Path) -> Published:
    """Three Parquet shards: `id`, `image` (an Image), `conversations` as LLaVA has them, `data_source`."""
    rows = [
        {
            "id": f"toy_{number:03d}",
            "image": {"bytes": png(number), "path": f"{number}.png"},
            "conversations": _llava(number, tag="<image>\n"),
            "data_source": "toy",
        }
        for number in range(NUM_ROWS)
    ]
    features = Features(
        {
            "id": Value("string"),
            "image": Image(),
            "conversations": List({"from": Value("string"), "value": Value("string")}),
            "data_source": Value("string"),
        }
    )
    _shards(rows, features, folder)
    return Published({"path": str(folder / "*.parquet")}, tuple(exchange(n, [n]) for n in range(NUM_ROWS)))


def cauldron(folder: Path) -> Published:
    """A folder with one subfolder per configuration; the second one is the dataset."""
    features = Features(
        {
            "images": List(Image()),
            "texts": List({"user": Value("string"), "assistant": Value("string"), "source": Value("string")}),
        }
    )
    for name, first in (("charts", 0), ("diagrams", 100)):
        rows = [
            {"images": [{"bytes": png(number), "path": None}], "texts": [{**_texts(first + number), "source": "toy"}]}
            for number in range(NUM_ROWS)
        ]
        _shards(rows, features, folder / name, num_shards=1)
    return Published({"path": str(folder / "diagrams")}, tuple(exchange(100 + n, [n]) for n in range(NUM_ROWS)))


def webdataset(folder: Path) -> Published:
    """Two tars: `000003.png` beside `000003.json`, which holds a LLaVA conversation."""
    folder.mkdir(parents=True)
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(shard * 5, min(NUM_ROWS, shard * 5 + 5)):
                _member(tar, f"{number:06d}.png", png(number))
                text = json.dumps({"conversations": _llava(number, tag="<image>\n")})
                _member(tar, f"{number:06d}.json", text.encode())
    return Published({"path": str(folder)}, tuple(exchange(n, [n]) for n in range(NUM_ROWS)))


def sharegpt(folder: Path) -> Published:
    """A folder of LLaMA-Factory: dataset_info.json names columns and tags of the file."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(NUM_ROWS):
        (folder / f"{number}.png").write_bytes(png(number))
        rows.append(
            {
                "chat": [
                    {"who": "person", "says": f"<image>{exchange(number).question}"},
                    {"who": "machine", "says": exchange(number).answer},
                ],
                "pictures": [f"{number}.png"],
            }
        )
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    description = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "chat", "images": "pictures"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "person", "assistant_tag": "machine"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"toy": description}), encoding="utf-8")
    return Published({"path": str(folder)}, tuple(exchange(n, [n]) for n in range(NUM_ROWS)))


def swift(folder: Path) -> Published:
    """A JSONL file of ms-swift: `query` and `response`, images as base64 text."""
    folder.mkdir(parents=True)
    lines = [
        {
            "query": f"<image>{exchange(number).question}",
            "response": exchange(number).answer,
            "images": [base64.b64encode(png(number)).decode()],
        }
        for number in range(NUM_ROWS)
    ]
    path = folder / "swift.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return Published({"path": str(path)}, tuple(exchange(n, [n]) for n in range(NUM_ROWS)))


def alpaca(folder: Path) -> Published:
    """A CSV file with instruction, input and output."""
    folder.mkdir(parents=True)
    path = folder / "alpaca.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["instruction", "input", "output"])
        for number in range(NUM_ROWS):
            writer.writerow([exchange(number).question, "", exchange(number).answer])
    return Published({"path": str(path)}, tuple(map(exchange, range(NUM_ROWS))))


def saved(folder: Path) -> Published:
    """A `save_to_disk` folder of two splits: `messages` and an Image column."""
    features = Features(
        {
            "messages": List({"role": Value("string"), "content": Value("string")}),
            "images": List(Image()),
        }
    )

    def split(first: int) -> Dataset:
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"<image>{exchange(first + number).question}"},
                    {"role": "assistant", "content": exchange(first + number).answer},
                ],
                "images": [{"bytes": png(number), "path": None}],
            }
            for number in range(NUM_ROWS)
        ]
        return Dataset.from_list(rows, features=features)

    DatasetDict({"train": split(0), "test": split(100)}).save_to_disk(str(folder))
    entry = {"path": str(folder), "split": "test"}
    return Published(entry, tuple(exchange(100 + n, [n]) for n in range(NUM_ROWS)))


def in_memory(folder: Path) -> Published:
    """A JSONL file at an address that only fsspec opens."""
    address = f"memory://{folder.name}/rows.jsonl"
    with fsspec.open(address, "wt") as file:
        for number in range(NUM_ROWS):
            url = f"data:image/png;base64,{base64.b64encode(png(number)).decode()}"
            file.write(json.dumps({"image": url, "conversations": _llava(number, tag="<image>\n")}) + "\n")
    return Published({"path": address}, tuple(exchange(n, [n]) for n in range(NUM_ROWS)))


SHAPES: tuple[Callable[[Path], Published], ...] = (
    finevision,
    onevision,
    cauldron,
    webdataset,
    sharegpt,
    swift,
    alpaca,
    saved,
    in_memory,
)
"""Makers of datasets; each writes into a folder that does not exist yet."""


def _llava(number: int, *, tag: str = "") -> list[dict[str, str]]:
    return [
        {"from": "human", "value": tag + exchange(number).question},
        {"from": "gpt", "value": exchange(number).answer},
    ]


def _texts(number: int) -> dict[str, str]:
    return {"user": exchange(number).question, "assistant": exchange(number).answer}


def _shards(rows: Sequence[dict[str, Any]], features: Features, folder: Path, *, num_shards: int = 3) -> None:
    folder.mkdir(parents=True)
    for shard in range(num_shards):
        part = Dataset.from_list(list(_share(rows, shard, num_shards)), features=features)
        part.to_parquet(str(folder / f"train-{shard:05d}-of-{num_shards:05d}.parquet"))


def _share(rows: Sequence[dict[str, Any]], shard: int, num_shards: int) -> Iterator[dict[str, Any]]:
    size = -(-len(rows) // num_shards)
    yield from rows[shard * size : (shard + 1) * size]


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
