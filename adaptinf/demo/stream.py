"""Writing a stream: datasets as LLaVA JSON with PNG images, and one test file per skill."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from adaptinf.demo.canvas import Pixels
from adaptinf.demo.mixture import LIIT, Mixture
from adaptinf.demo.phrasing import Exchange, ask, tagged
from adaptinf.demo.skills import SKILLS, Content, Skill
from adaptinf.demo.sources import Split

BASE_PATHS = tuple(Path(__file__).parent / name for name in ("base", "base-b", "base-c"))
"""The tiny vision-language models of the package: one vision tower, three language models of different seeds."""
BASE_PATH = BASE_PATHS[0]
"""The model of the demo."""

LORA = {"rank": 16, "alpha": 32}
"""Settings `model.lora`: a small adapter for a small model."""
VECTOR_DIM = 1024
"""Setting `extraction.dim`: length of the vectors."""

DEMO_SCALE = 0.1
"""Scale of `adaptinf demo`."""
DEMO_TESTS_PER_SKILL = 12
"""Number of test items per skill of `adaptinf demo`."""
BUDGET = 1000
"""Recommended budget at scale 1; it is proportional to the scale, but at least _MIN_BUDGET."""
_MIN_BUDGET = 190
EPOCHS = 4
LEARNING_RATE = 1e-3
BATCH_SIZE = 8

_SHIFT = 1
"""Largest shift of a near-duplicate in pixels; a larger one would change boxes."""
_BRIGHTNESS = 0.1
_NOISE_SD = 4.0
_LEVELS_MASK = 0xF8
"""Pixels keep five bits per channel: no visible change, files of half the size."""

LlavaRow = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class _Album:
    """Writes images to one folder and returns their names."""

    folder: Path
    """The `images` folder."""
    prefix: str
    """Subfolder and first part of each name."""

    def save(self, images: Sequence[Pixels], number: int) -> list[str]:
        names = [f"{self.prefix}{number:06d}{'abc'[i] if len(images) > 1 else ''}.png" for i in range(len(images))]
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image & _LEVELS_MASK).save(self.folder / name, compress_level=1)
        return names


def write_stream(
    folder: Path,
    *,
    mixture: Mixture = LIIT,
    scale: float = 1.0,
    tests_per_skill: int = 50,
    validation_per_skill: int = 0,
    seed: int = 0,
    model_path: str | None = None,
) -> Path:
    """Write the stream to a folder and return the path of its stream.yaml, which is written last.

    The same arguments give the same bytes. The tests do not depend on `scale`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for dataset in mixture.sizes:
        _write_dataset(folder, mixture, dataset, scale, seed)
    _write_held_out(folder, mixture, "test", tests_per_skill, seed)
    if validation_per_skill:
        _write_held_out(folder, mixture, "validation", validation_per_skill, seed)
    path = folder / "stream.yaml"
    path.write_text(yaml.safe_dump(_config(mixture, scale, seed, model_path), sort_keys=False), encoding="utf-8")
    return path


def budget_at(scale: float) -> int:
    """Return the recommended budget: samples to train on per step."""
    return max(_MIN_BUDGET, round(BUDGET * scale))


def _config(mixture: Mixture, scale: float, seed: int, model_path: str | None) -> dict[str, object]:
    evaluation = [
        {
            "skill": name,
            "path": f"test/{name}.json",
            "images": "images",
            "metric": skill.metric,
            "introduced_at": mixture.introduced_at(name),
        }
        for name, skill in _skills(mixture).items()
    ]
    return {
        "model": {"path": model_path or str(BASE_PATH.resolve()), "dtype": "float32", "max_length": 512},
        "stream": [
            {"name": name, "path": f"{name}.json", "images": "images", "format": "llava"} for name in mixture.sizes
        ],
        "selection": {"budget": budget_at(scale)},
        "training": {
            "tune": "full", "epochs": EPOCHS, "learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE,
            "micro_batch_size": BATCH_SIZE,
        },
        "evaluation": evaluation,
        "seed": seed,
    }  # fmt: skip


def _rng(seed: int, *names: str) -> np.random.Generator:
    """Return a separate generator for each purpose, so that no part of the stream depends on the size of another."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def _skills(mixture: Mixture) -> dict[str, Skill]:
    """Return the mixture's skills, in the order of SKILLS."""
    return {name: skill for name, skill in SKILLS.items() if name in mixture.skills}


def _write_dataset(folder: Path, mixture: Mixture, dataset: str, scale: float, seed: int) -> None:
    (folder / "images" / dataset).mkdir(exist_ok=True)
    rows: list[LlavaRow] = []
    for name, count in mixture.counts(scale)[dataset].items():
        album = _Album(folder=folder / "images", prefix=f"{dataset}/{name}-")
        rng = _rng(seed, "train", dataset, name)
        contents = list(_contents(rng, mixture, SKILLS[name], count))
        if dataset in mixture.noisy:
            contents = _with_wrong_answers(rng, contents, mixture.noise)
        for number, content in enumerate(contents):
            rows.append(_row(rng, SKILLS[name], content, number, album, "train"))
    order = _rng(seed, "order", dataset).permutation(len(rows))
    _write_json(folder / f"{dataset}.json", [rows[i] for i in order])


def _write_held_out(folder: Path, mixture: Mixture, split: Split, count: int, seed: int) -> None:
    (folder / split).mkdir(exist_ok=True)
    (folder / "images" / split).mkdir(exist_ok=True)
    for name, skill in _skills(mixture).items():
        album = _Album(folder=folder / "images", prefix=f"{split}/{name}-")
        rng = _rng(seed, split, name)
        contents = (skill.draw(rng, split) for _ in range(count))
        single = (replace(content, exchanges=content.exchanges[:1]) for content in contents)
        rows = [_row(rng, skill, content, number, album, split) for number, content in enumerate(single)]
        _write_json(folder / split / f"{name}.json", rows)


def _contents(rng: np.random.Generator, mixture: Mixture, skill: Skill, count: int) -> Iterator[Content]:
    """Yield originals, then near-duplicates of them; a few originals are copied far more often than the others."""
    num_originals = max(1, round(mixture.unique * count))
    originals = [_some_turns(rng, skill.draw(rng, "train"), mixture.multi_turn) for _ in range(num_originals)]
    yield from originals
    weights = np.arange(1, len(originals) + 1) ** -mixture.zipf
    copied = rng.choice(len(originals), size=count - len(originals), p=weights / weights.sum())
    for index in copied:
        images = tuple(_altered(rng, image) for image in originals[index].images)
        yield replace(originals[index], images=images)


def _some_turns(rng: np.random.Generator, content: Content, multi_turn: float) -> Content:
    return content if rng.random() < multi_turn else replace(content, exchanges=content.exchanges[:1])


def _altered(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Return the image shifted, brightened or darkened, and with noise."""
    padded = np.pad(image, ((_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * _SHIFT + 1, 2)
    moved = padded[top : top + image.shape[0], left : left + image.shape[1]]
    noise = _NOISE_SD * rng.standard_normal(image.shape, dtype=np.float32)
    lit = moved * rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS) + noise
    return np.clip(lit, 0, 255).astype(np.uint8)


def _with_wrong_answers(rng: np.random.Generator, contents: list[Content], noise: float) -> list[Content]:
    """Return the contents with some first answers replaced by answers of other contents."""
    wrong = np.flatnonzero(rng.random(len(contents)) < noise)
    noisy = list(contents)
    for index in wrong:
        first = contents[index].exchanges[0]
        others = [content.exchanges[0].answer for content in contents if content.exchanges[0].answer != first.answer]
        if others:
            exchanges = (Exchange(first.slots, others[rng.integers(len(others))]), *contents[index].exchanges[1:])
            noisy[index] = replace(contents[index], exchanges=exchanges)
    return noisy


def _row(
    rng: np.random.Generator, skill: Skill, content: Content, number: int, album: _Album, split: Split
) -> LlavaRow:
    """Return a row of LLaVA after saving its images."""
    conversations = []
    for position, exchange in enumerate(content.exchanges):
        question = ask(rng, skill.paraphrases, exchange.slots, split, hashed=not content.images)
        tagged_question = tagged(rng, question, len(content.images)) if position == 0 else question
        conversations += [{"from": "human", "value": tagged_question}, {"from": "gpt", "value": exchange.answer}]
    names = album.save(content.images, number)
    images: LlavaRow = {} if not names else {"image": names[0] if len(names) == 1 else names}
    return {
        "id": f"{skill.name}-{number:06d}", **images, "conversations": conversations,
        "skill": skill.name, "family": skill.family,
    }  # fmt: skip


def _write_json(path: Path, rows: list[LlavaRow]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=0), encoding="utf-8")
