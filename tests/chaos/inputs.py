"""What a run stands on changes between two of its steps: it is refused or noted; what is only moved is neither."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.chaos.flips import flip
from tests.chaos.forks import command
from tests.chaos.judging import HELD, Case, Judged, Verdict, differences, fault, refusal
from tests.chaos.runs import Workshop, small_shards
from tests.chaos.verbs import honest


class Change(NamedTuple):
    """Something that happens between two steps, to a copy of the run and of its inputs."""

    do: Callable[[Path, Path, Random], None]
    """Called with the folder of the inputs and the run."""
    names: tuple[str, ...]
    """One of these words must be in what is said; none: the change is none, and nothing may be refused."""


def _noise(inputs: Path, run: Path, rng: Random) -> None:
    path = inputs / "base/model.safetensors"
    weights = load_file(path)
    name = rng.choice(sorted(weights))
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 0.02, weights[name].shape)
    save_file({**weights, name: (weights[name] + noise).astype(weights[name].dtype)}, path, {"format": "pt"})


def _edit(name: str, was: str, now: str) -> Callable[[Path, Path, Random], None]:
    def edit(inputs: Path, run: Path, rng: Random) -> None:
        path = inputs / name
        text = path.read_text(encoding="utf-8")
        assert was in text, f"{path} has no {was!r}"
        path.write_text(text.replace(was, now, 1), encoding="utf-8")

    return edit


def _weights_flip(inputs: Path, run: Path, rng: Random) -> None:
    flip(inputs / "base/model.safetensors", rng)


def _template_file(inputs: Path, run: Path, rng: Random) -> None:
    path = inputs / "base/chat_template.jinja"
    path.write_text(path.read_text(encoding="utf-8").replace("{{", "{{ ' ' }}{{", 1), encoding="utf-8")


def _tests(change: Callable[[list[Any]], list[Any]]) -> Callable[[Path, Path, Random], None]:
    def do(inputs: Path, run: Path, rng: Random) -> None:
        path = inputs / "test_sums.json"
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return do


def _other_answer(items: list[Any]) -> list[Any]:
    items[1]["conversations"][1]["value"] = "7"
    return items


def _keys_turned(items: list[Any]) -> list[Any]:
    return [dict(reversed(item.items())) for item in items]


def _dataset_gone(inputs: Path, run: Path, rng: Random) -> None:
    shutil.rmtree(run / "pool/00-one")


def _dataset_of_others(inputs: Path, run: Path, rng: Random) -> None:
    """Put the content of another dataset into a dataset's folder, with its hashes."""
    shutil.rmtree(run / "pool/00-one")
    shutil.copytree(run / "pool/02-three", run / "pool/00-one")


def _touched(inputs: Path, run: Path, rng: Random) -> None:
    for path in (inputs / "base").iterdir():
        path.write_bytes(path.read_bytes())


def _source_gone(inputs: Path, run: Path, rng: Random) -> None:
    (inputs / "one.json").unlink()


def _readme(inputs: Path, run: Path, rng: Random) -> None:
    (inputs / "base/README.md").write_text("A model.", encoding="utf-8")


CHANGES: dict[str, Change] = {
    "weights-noise": Change(_noise, ("model.safetensors",)),
    "weights-bit": Change(_weights_flip, ("model.safetensors",)),
    "tokenizer": Change(_edit("base/tokenizer.json", '"added_tokens"', '"added_tokens" '), ("tokenizer.json",)),
    "template": Change(_template_file, ("chat_template.jinja",)),
    "model-config": Change(_edit("base/config.json", "{", '{"rms_norm_eps_": 1, '), ("config.json",)),
    "processor": Change(_edit("base/processor_config.json", "{", '{"rescale_factor_": 2, '), ("processor_config",)),
    "template-gone": Change(lambda i, r, _: (i / "base/chat_template.jinja").unlink(), ("template", "chat_template")),
    "weights-gone": Change(lambda i, r, _: (i / "base/model.safetensors").unlink(), ("base",)),
    "test-answer": Change(_tests(_other_answer), ("test_sums", "sums")),
    "test-item-gone": Change(_tests(lambda items: items[1:]), ("test_sums", "sums")),
    "test-item-new": Change(_tests(lambda items: [*items, {**items[0], "id": "new"}]), ("test_sums", "sums")),
    "test-file-gone": Change(lambda i, r, _: (i / "test_sums.json").unlink(), ("test_sums",)),
    "dataset-gone": Change(_dataset_gone, ("00-one",)),
    "dataset-of-another": Change(_dataset_of_others, ("00-one",)),
    "touched": Change(_touched, ()),
    "readme": Change(_readme, ()),
    "test-keys-turned": Change(_tests(_keys_turned), ()),
    "learnt-source-gone": Change(_source_gone, ()),
}


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield every change, before a run of the next step, and before one that goes on in the middle of it."""
    for state in ("waiting", "half-features", "half-model"):
        for name, change in CHANGES.items():
            attack = "changed input" if change.names else "unchanged input"
            yield Case(f"{attack}, run", f"inputs/{state}/{name}", partial(_try, workshop, state, change))


def _try(workshop: Workshop, state: str, change: Change, scratch: Path, rng: Random) -> Judged:
    expected = honest(workshop, state, "run").folder / "run"
    run = workshop.copy(state, scratch / "run")
    inputs = scratch / "inputs"
    shutil.copytree(workshop.inputs, inputs)
    config = run / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(workshop.inputs), str(inputs)), encoding="utf-8")
    change.do(inputs, run, rng)
    ended = command(("run", config, "--out", run, "--quiet"), scratch / "said", before=small_shards)
    found = fault(ended)
    if found is not None:
        return found
    places = [(workshop.inputs, inputs)]
    lines = differences(expected, run, without=("config.yaml",), places=places) if ended.code == 0 else []
    if not change.names:
        return Judged(Verdict.POOR_MESSAGE, f"refused without a change: {ended.err!r}") if ended.code else _same(lines)
    if ended.code:
        return refusal(ended, change.names)
    is_noted = "note: " in ended.err and any(name in ended.err for name in change.names)
    return HELD if is_noted or not lines else Judged(Verdict.SILENT_WRONG, f"not a word about {'; '.join(lines[:2])}")


def _same(lines: list[str]) -> Judged:
    return Judged(Verdict.SILENT_WRONG, "; ".join(lines[:3])) if lines else HELD
