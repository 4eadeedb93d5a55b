"""Peak memory of validate, add and run on data that could take all of it: large images, long texts, huge rows.

python -m benchmarks.hostile_memory            # half an hour
python -m benchmarks.hostile_memory --quick    # small data; shows that the script runs

Each command works in a process of its own; what it takes beyond its start, with all imports made, must stay below 1 GB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptinf import api
from adaptinf.demo.stream import BASE_PATHS
from adaptinf.errors import AdaptError
from adaptinf.images import open_image
from benchmarks.measuring import Work, measure
from benchmarks.reporting import Report, arguments_of

MOST = 1e9
"""Bytes above the start."""
SIDE, LARGE_SIDES = 10_000, (7_300, 5_475)
"""Width and height of an image of 100 megapixels, and of one that is just read."""
NUM_ROWS = 12
"""Ordinary rows of a dataset, beside the hostile ones."""
VERBS = ("validate", "add", "run random_replay", "run adapt_plus")
TILE = 50
"""Side of the square of random pixels that a large image repeats."""


def row(number: object, question: str = "What is it?", image: str | None = None) -> dict[str, Any]:
    """Return a row in the format of LLaVA."""
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": f"It is number {number}."}]
    return {"id": str(number), **({"image": image} if image else {}), "conversations": turns}


def pixels(sides: tuple[int, int], channels: int, *, deep: bool = False) -> np.ndarray:
    """Return random pixels that repeat, so that they are made quickly and compress well."""
    shape = (TILE, TILE, channels) if channels > 1 else (TILE, TILE)
    high, dtype = (65536, np.uint16) if deep else (256, np.uint8)
    tile = np.random.default_rng(0).integers(0, high, shape, dtype=dtype)
    repeats = (max(1, sides[1] // TILE), max(1, sides[0] // TILE), 1)
    return np.tile(tile, repeats[: tile.ndim])


def one_image(folder: Path, shrink: int, *, name: str, channels: int = 3, deep: bool = False, **options: Any) -> Path:
    """Write a dataset of which one row has an image of 100 megapixels."""
    sides = (SIDE // shrink, SIDE // shrink)
    Image.fromarray(pixels(sides, channels, deep=deep)).save(folder / name, **options)
    return written(folder, [*map(row, range(NUM_ROWS)), row("large", image=name)])


def many_images(folder: Path, shrink: int, *, suffix: str) -> Path:
    """Write a dataset of eight images that are just within the limit."""
    image = Image.fromarray(pixels((LARGE_SIDES[0] // shrink, LARGE_SIDES[1] // shrink), 3))
    image.save(folder / f"0{suffix}")
    for number in range(1, 8):
        (folder / f"{number}{suffix}").hardlink_to(folder / f"0{suffix}")
    return written(folder, [row(number, image=f"{number}{suffix}") for number in range(8)])


def long_text(folder: Path, shrink: int, *, size: int) -> Path:
    """Write a dataset of which one row has a very long question."""
    rows = [*map(row, range(40)), row("long", "word " * (size // shrink // 5))]
    return written(folder, rows)


def huge_row(folder: Path, shrink: int, *, suffix: str) -> Path:
    """Write a dataset of which one row has 2 GB."""
    opening, between, closing = ("[", ",\n", "]") if suffix == ".json" else ("", "\n", "\n")
    before, after = json.dumps(row("huge", "\0")).split("\\u0000")
    path = folder / f"data{suffix}"
    with path.open("w", encoding="utf-8") as file:
        file.write(opening + between.join(json.dumps(row(number)) for number in range(NUM_ROWS)) + between + before)
        for _ in range(2000 // shrink):
            file.write("x" * 1_000_000)
        file.write(after + between + json.dumps(row("last")) + closing)
    return path


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a dataset as a list."""
    path = folder / "data.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


CASES: dict[str, Callable[[Path, int], Path]] = {
    "PNG, RGB, 100 megapixels": partial(one_image, name="a.png", compress_level=1),
    "PNG, RGBA, 100 megapixels": partial(one_image, name="a.png", channels=4, compress_level=1),
    "PNG, 16-bit grey, 100 megapixels": partial(one_image, name="a.png", channels=1, deep=True, compress_level=1),
    "JPEG, 100 megapixels": partial(one_image, name="a.jpg"),
    "JPEG, progressive, full colour, 100 megapixels": partial(one_image, name="a.jpg", progressive=True, subsampling=0),
    "8 JPEGs of 40 megapixels": partial(many_images, suffix=".jpg"),
    "8 PNGs of 40 megapixels": partial(many_images, suffix=".png"),
    "a question of 1 MB": partial(long_text, size=1_000_000),
    "a question of 4 MB": partial(long_text, size=4_000_000),
    "a line of 2 GB (.jsonl)": partial(huge_row, suffix=".jsonl"),
    "an item of 2 GB (.json)": partial(huge_row, suffix=".json"),
}


FORMATS: dict[str, dict[str, Any]] = {
    "rgb.png": {"compress_level": 1},
    "rgba.png": {"channels": 4, "compress_level": 1},
    "grey of 16 bits.png": {"channels": 1, "deep": True, "compress_level": 1},
    "grey of 16 bits.tif": {"channels": 1, "deep": True},
    "palette, transparent.png": {"mode": "P", "transparency": 3, "compress_level": 1},
    "float.tif": {"mode": "F"},
    "progressive.jpg": {"progressive": True, "subsampling": 0},
    "cmyk.jpg": {"mode": "CMYK"},
    "turned by exif.jpg": {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    "frames.gif": {"mode": "P", "frames": 2},
    "frames.webp": {"frames": 2, "quality": 30, "method": 0},
    "frames.png": {"frames": 2, "compress_level": 1},
    "rgba.avif": {"channels": 4, "speed": 10, "quality": 30},
    "rgba.jp2": {"channels": 4},
}
"""Name of a file -> how it is written."""


def image_file(
    folder: Path,
    name: str,
    shrink: int,
    *,
    channels: int = 3,
    deep: bool = False,
    mode: str = "",
    frames: int = 1,
    **options: Any,
) -> Path:
    """Write an image that is just within the limit."""
    sides = LARGE_SIDES[0] // shrink, LARGE_SIDES[1] // shrink
    image = Image.fromarray(pixels(sides, channels, deep=deep))
    image = image.convert("L").convert(mode) if mode == "F" else image.convert(mode) if mode else image
    if frames > 1:
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)] * (frames - 1)}
    image.save(folder / name, **options)
    return folder / name


def decoding(path: Path) -> Work:
    """Return the decoding of an image as every use of it does."""
    Image.init()
    return lambda: {"size": "{} x {}".format(*open_image(path).size)}


def command(verb: str, path: Path) -> Work:
    """Return a command on a dataset, all of whose imports are made."""
    import adaptinf.doctor.dataset
    import adaptinf.extraction
    import adaptinf.pipeline
    import adaptinf.training  # noqa: F401

    folder = Path(tempfile.mkdtemp())
    name, _, method = verb.partition(" ")
    base = str(BASE_PATHS[0].resolve())
    settings = {
        "model.path": base,
        "model.max_length": 512 if "image" in path.parent.name else 64,
        "selection.method": method or "random_replay",
        "selection.budget": 8,
    }
    stream = folder / "stream.yaml"
    stream.write_text(json.dumps({"stream": [{"name": "data", "path": str(path)}]}))
    if name == "run":
        return partial(counted, lambda: api.run(stream, out=folder / "run", settings=settings))
    if name == "add":
        api.init(folder / "run", model=base)
        return partial(counted, lambda: api.add(folder / "run", path))
    return partial(counted, lambda: api.validate(path, model=base))


def counted(call: Callable[[], Any]) -> dict[str, str]:
    """Make a call and return how it ended."""
    try:
        call()
    except AdaptError as error:
        return {"end": f"{type(error).__name__}: {error}"[:80]}
    return {"end": "done"}


def main() -> None:
    options = arguments_of(__doc__)
    report = Report("hostile-memory", "Peak memory on hostile data", packages=("torch", "transformers", "pillow"))
    report.text(
        "Anonymous memory above that at the start of the command, all imports made, on the tiny vision-language model "
        "of the demo; `model.max_length` is 64, or 512 with images that are used.\n"
    )
    report.text(f"## Decoding an image of {LARGE_SIDES[0]:,} x {LARGE_SIDES[1]:,} pixels\n")
    decoded = list(_decoded(20 if options.quick else 1))
    report.table(decoded)
    report.text("## Commands\n")
    rows = list(_rows(20 if options.quick else 1, VERBS[::3] if options.quick else VERBS))
    report.table(rows)
    most = max(float(str(one["above start, MB"])) for one in [*decoded, *rows])
    report.text(f"Most: {most:.0f} MB; at most {MOST / 1e6:.0f} MB are wanted.\n")
    report.write(options.out)


def _decoded(shrink: int) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, options in FORMATS.items():
            path = image_file(Path(folder), name, shrink, **options)
            measured = measure(decoding, path=path)
            megabytes = (measured.peak_bytes - measured.start_bytes) / 1e6
            print(f"{name}: {measured.seconds:.0f} s, {megabytes:.0f} MB", file=sys.stderr)
            yield {"image": name, "above start, MB": round(megabytes), "seconds": round(measured.seconds, 1)}


def _rows(shrink: int, verbs: tuple[str, ...]) -> Iterator[dict[str, object]]:
    for name, make in CASES.items():
        with tempfile.TemporaryDirectory(prefix="image-" if "pixels" in name else "text-") as folder:
            path = make(Path(folder), shrink)
            for verb in verbs:
                measured = measure(command, verb=verb, path=path)
                megabytes = (measured.peak_bytes - measured.start_bytes) / 1e6
                print(f"{name}: {verb}, {measured.seconds:.0f} s, {megabytes:.0f} MB", file=sys.stderr)
                yield {
                    "data": name,
                    "command": verb,
                    "above start, MB": round(megabytes),
                    "seconds": round(measured.seconds, 1),
                    "end": measured.figures["end"],
                }


if __name__ == "__main__":
    main()
