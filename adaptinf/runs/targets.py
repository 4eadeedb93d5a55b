"""`selection.targets`: the examples towards which a method chooses, judged before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import xxhash

from adaptinf import registry
from adaptinf.config import RunConfig, SourceConfig
from adaptinf.data import Features, Rejected, Sample
from adaptinf.errors import ConfigError, DataError, StoreError
from adaptinf.formats.reading import broken_file, read_entry
from adaptinf.runs import Run
from adaptinf.selection.targets import Targets
from adaptinf.storage import tables
from adaptinf.storage.tables import text_array

CONTENT_FILE = "content.json"
"""Beside the features of the targets: the hash of what they were."""
SOURCE = "targets"
"""First part of their ids."""


def problems(config: RunConfig) -> list[str]:
    """Return why a run cannot choose towards its targets, in one line; no line where it can, or has none to choose by.

    `config`: of a known method.
    """
    method, path = config.selection.method, config.selection.targets
    uses = "targets" in registry.selector[method].needs
    if path is None:
        wanted = "name a file of conversations with answers, examples of what the model shall get better at"
        return [f"selection.targets is missing, and the selector {method} chooses towards it: {wanted}"] if uses else []
    if not uses:
        able = [name for name in registry.selector.names() if "targets" in registry.selector[name].needs]
        return [
            f"selection.targets: {path} is not used by the selector {method}; leave it out, or choose a method that "
            f"does: {', '.join(able)}"
        ]
    own = Path(path).absolute()
    tests = [test.skill for test in config.evaluation if test.path and Path(test.path).absolute() == own]
    if tests:
        return [f"selection.targets: {path} has the test items of {tests[0]}; choose towards other examples"]
    try:
        read_targets(config)
    except (ConfigError, DataError) as error:
        return [str(error)]
    return []


def read_targets(config: RunConfig) -> list[Sample]:
    """Return the samples of `selection.targets`, every row of it.

    Raises:
        DataError: the file cannot be read or has no row, or a row is no conversation that ends with an answer, or has
            an id of another row.
    """
    path = str(config.selection.targets)
    samples: list[Sample] = []
    try:
        rows = list(read_entry(SourceConfig(path=path), config.data, source=SOURCE))
    except (ConfigError, DataError) as error:
        raise DataError(f"selection.targets: {error}") from None
    for number, row in enumerate(rows):
        if isinstance(row, Rejected):
            what = broken_file(row) if row.ends_file else f"{row.file} row {row.row}: {row.reason}"
            raise DataError(f"selection.targets: {what}; correct it, or take it out")
        if row.messages[-1]["role"] != "assistant":
            raise DataError(
                f"selection.targets: {path} row {number}: the last turn is the {row.messages[-1]['role']}'s, so there "
                "is no answer to measure; give it one, or take the row out"
            )
        samples.append(row)
    if not samples:
        raise DataError(f"selection.targets: {path} has no row; give at least one conversation with an answer")
    ids = [sample.id for sample in samples]
    if twice := next((id for number, id in enumerate(ids) if id in ids[:number]), None):
        raise DataError(f"selection.targets: {path} has two rows with the id {twice!r}; give each its own")
    return samples


def content_of(samples: list[Sample]) -> str:
    """Return the hash of conversations and of the bytes of their images."""
    found = xxhash.xxh3_128()
    for sample in samples:
        found.update(json.dumps([sample.id, sample.messages, sample.meta.get("skill")], default=str).encode())
        for image in sample.images:
            found.update(image.read_bytes() if isinstance(image, Path) else image.read())
    return found.hexdigest()


def check_same(run: Run, step: int, content: str) -> None:
    """Refuse targets that differ from those of the step before: one run has one aim.

    Raises:
        ConfigError: they do.
    """
    folder = targets_folder(run, step - 1) if step else None
    path = None if folder is None else folder / CONTENT_FILE
    if path is not None and path.exists() and tables.read_json(path).get("content") != content:
        raise ConfigError(
            f"selection.targets: {run.settings.selection.targets} has changed since step {step - 1}, and one run "
            "chooses towards one set; put it back, or choose another --out"
        )


def targets_folder(run: Run, step: int) -> Path:
    """Return the folder of a step's features of the targets."""
    return run.stage_folder(step, Features) / Features.TARGETS


def measured_targets(run: Run, step: int) -> Targets:
    """Return the targets as a step has measured them.

    Raises:
        StoreError: they are not there.
    """
    folder = targets_folder(run, step)
    if not folder.exists():
        raise StoreError(f"{folder} is missing; delete {folder.parent} too, so that its step is measured again")
    features = Features.load(folder)
    skills = tables.read_json(folder / CONTENT_FILE)["skills"]
    return Targets(ids=features.ids, vectors=features.vectors, skills=text_array(skills))
