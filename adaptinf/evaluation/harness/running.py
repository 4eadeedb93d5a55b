"""Running harnesses on the model of a step: what has ended well is kept, so that a later call does not run it again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from adaptinf.errors import AdaptError, DataError
from adaptinf.evaluation.harness.installed import installed_version
from adaptinf.evaluation.harness.json_keys import read_json_key
from adaptinf.evaluation.harness.lmms_eval import read_lmms_eval
from adaptinf.evaluation.harness.reading import HarnessResult
from adaptinf.evaluation.harness.tests import LMMS_EVAL, HarnessTest
from adaptinf.outside import log_tail, run_command
from adaptinf.progress import Progress
from adaptinf.storage import store, tables
from adaptinf.words import format_seconds, shortened

FOLDER = "harness"
"""In the folder of an evaluation: a folder per skill that a command tests."""
LOG, OUTPUT, DONE = "log.txt", "output", "done.json"
"""In it: what the command has said, what it has written, and for which model, once it has ended well."""
MERGED = "merged"
"""In the unfinished folder of an evaluation: the merged model while harnesses run."""
NAME_LENGTH = 40
"""Characters of a skill's name in the name of its folder."""

Check = Callable[[HarnessTest, HarnessResult], None]
"""Refuses a result that does not fit to the rows before."""


@dataclass(frozen=True, kw_only=True)
class StepModel:
    """The model of a step as commands are told of it."""

    model: str | None
    """Folder or name of the model; None: its weights exist only once its adapters are merged."""
    adapter: str
    """Folder of its adapter; empty: it has none."""
    write_merged: Callable[[Path], None]
    """Writes it as an ordinary folder."""
    key: str
    """Stands for its weights; what was kept for another one is not used."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Values of the other placeholders, but for the folders."""


def run_harnesses(
    tests: Sequence[HarnessTest],
    tested: StepModel,
    *,
    part: Path,
    folder: Path,
    check: Check,
    progress: Progress,
) -> dict[str, HarnessResult]:
    """Return skill -> result of each harness, run one after another.

    Args:
        tests: what to run.
        tested: the model.
        part: unfinished folder of the evaluation, where logs, results and what is kept lie.
        folder: working directory of the commands.
        check: as Check.
        progress: where to report.

    Raises:
        ConfigError: a command failed; with the last lines of its log.
        DataError: its result cannot be used.
        StoreError: as `check`.
    """
    found: dict[str, HarnessResult] = {}
    with progress.stage("harness", len(tests), unit="commands") as bar, _merged(tested, part) as merged:
        for test in tests:
            place = place_of(part, test.skill)
            found[test.skill] = _kept(test, tested, place, check, progress) or _run(
                test, tested, place, folder, merged, check
            )
            for note in found[test.skill].notes:
                progress.note(f"evaluation of {test.skill}: {note}")
            bar.advance()
    return found


def place_of(part: Path, skill: str) -> Path:
    """Return the folder of a skill below that of an evaluation; its name has letters that every system takes."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", skill).strip(".")[:NAME_LENGTH]
    name = plain if plain == skill else f"{plain}-{xxhash.xxh3_64_hexdigest(skill.encode())[:6]}"
    return part / FOLDER / name


def logs_below(part: Path) -> list[Path]:
    """Return the logs of the harnesses of an evaluation."""
    return sorted((part / FOLDER).glob(f"*/{LOG}"))


def read_result(test: HarnessTest, output: Path, installed: str = "") -> HarnessResult:
    """Return the result that a harness has written into a folder.

    Args:
        test: the harness.
        output: the folder.
        installed: version of the harness; empty: unknown.

    Raises:
        DataError: it cannot be used.
    """
    return read_lmms_eval(test, output, installed) if test.reads[0] == LMMS_EVAL else read_json_key(test, output)


def kept_result(test: HarnessTest, part: Path) -> HarnessResult | None:
    """Return what a harness has found for an evaluation that is not finished; None: it has not ended, or not well."""
    place = place_of(part, test.skill)
    if not (place / DONE).is_file():
        return None
    try:
        return read_result(test, place / OUTPUT, tables.read_json(place / DONE).get("installed", ""))
    except AdaptError:
        return None


def run_record(test: HarnessTest, result: HarnessResult, part: Path) -> dict[str, Any]:
    """Return what an evaluation says of a harness: how it was asked, with which version, and where its log lies."""
    place = place_of(part, test.skill)
    return {
        "command": test.command.text,
        "metric": result.metric,
        "scale": test.scale,
        "version": result.version,
        "items": result.num_items,
        "items_digest": result.items_digest,
        "seconds": tables.read_json(place / DONE)["seconds"],
        "log": (place / LOG).relative_to(part).as_posix(),
        "files": [file.relative_to(part).as_posix() for file in result.files],
    }


def tidy(test: HarnessTest, result: HarnessResult, part: Path) -> None:
    """Remove what a harness has written beside the files that were read, such as caches of gigabytes."""
    output = place_of(part, test.skill) / OUTPUT
    for path in sorted(output.rglob("*"), reverse=True):
        if path.is_symlink() or (path.is_file() and path not in result.files):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@contextmanager
def _merged(tested: StepModel, part: Path) -> Iterator[Callable[[], str]]:
    """Yield what gives the folder of the merged model: it is made when first asked for, and removed in the end."""
    place = part / MERGED
    made: list[str] = []

    def path() -> str:
        if not made:
            shutil.rmtree(place, ignore_errors=True)
            tested.write_merged(place)
            made.append(str(place.absolute()))
        return made[0]

    try:
        yield path
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _key(test: HarnessTest, tested: StepModel) -> str:
    value = [tested.key, list(test.command.words), dict(tested.values)]
    return xxhash.xxh3_64_hexdigest(json.dumps(value).encode())


def _kept(test: HarnessTest, tested: StepModel, place: Path, check: Check, progress: Progress) -> HarnessResult | None:
    """Return the result that an earlier call has kept; None: there is none, or it can still not be used."""
    try:
        done = tables.read_json(place / DONE)
        if done.get("key") != _key(test, tested):
            return None
        result = read_result(test, place / OUTPUT, done.get("installed", ""))
        check(test, result)
    except AdaptError as error:
        if (place / DONE).is_file():
            progress.note(f"{test.skill}: the command runs again, as before: {shortened(str(error))}")
        return None
    return result


def _run(
    test: HarnessTest, tested: StepModel, place: Path, folder: Path, merged: Callable[[], str], check: Check
) -> HarnessResult:
    """Run a command, and keep what it has written before that is read: the reading may fail for what a user repairs."""
    (place / DONE).unlink(missing_ok=True)
    shutil.rmtree(place / OUTPUT, ignore_errors=True)
    (place / OUTPUT).mkdir(parents=True)
    values = {**tested.values, **_model_values(test, tested, merged), "output": str((place / OUTPUT).absolute())}
    words = test.command.filled(values)
    installed = installed_version(words[0], folder)
    seconds = run_command(
        words,
        place=test.command.place,
        folder=folder,
        log=place / LOG,
        timeout=test.timeout,
    )
    done = {"key": _key(test, tested), "seconds": round(seconds, 1), "installed": installed}
    store.write_json_whole(place / DONE, done)
    try:
        result = read_result(test, place / OUTPUT, installed)
    except DataError as error:
        ended = f"The command ended well after {format_seconds(seconds)}"
        raise DataError(f"{error}. {ended}. {log_tail(place / LOG)}") from error
    check(test, result)
    return result


def _model_values(test: HarnessTest, tested: StepModel, merged: Callable[[], str]) -> dict[str, str]:
    """Return the values of the placeholders for the model that a command has."""
    names, values = test.command.placeholders, {"adapter": tested.adapter}
    if "model" in names:
        values["model"] = merged() if tested.model is None else tested.model
    if "merged" in names:
        values["merged"] = merged()
    return values
