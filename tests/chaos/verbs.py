"""The commands that are tried on a damaged run, what each does in an honest one, and whether it did the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
import yaml

from adaptinf import cli
from tests.chaos.forks import Ended, command
from tests.chaos.judging import (
    HELD,
    Judged,
    Verdict,
    differences,
    fault,
    judged,
    raw_controls,
    same_json,
    same_page,
)
from tests.chaos.runs import Workshop, small_shards

COMMANDS = set(typer.main.get_command(cli.app).commands)
"""What this version of the command line knows."""
EXPORT = "exported"
"""Folder beside the run that `export` writes."""


def words_of(verb: str, run: Path, workshop: Workshop) -> tuple[object, ...]:
    """Return the command line of a verb on a run."""
    return {
        "status": ("status", run, "--json"),
        "explain": ("explain", run, workshop.pruned_id(), "--json"),
        "export": ("export", run, "--step", 1, "--out", run.parent / EXPORT, "--quiet"),
        "report": ("report", run),
        "run": ("run", run / "config.yaml", "--out", run, "--quiet"),
        "verify": ("verify", run),
    }[verb]


@dataclass(frozen=True)
class Honest:
    """What a verb does to an undamaged copy of a state."""

    folder: Path
    """With `run` and what the verb wrote beside it, as they are afterwards."""
    out: str
    """What it printed."""


def honest(workshop: Workshop, state: str, verb: str) -> Honest:
    """Return what a verb does to a state; it is tried once, by the first process that asks."""
    folder = workshop.folder / "honest" / f"{state}-{verb}"
    with workshop.made_once(folder) as is_new:
        if is_new:
            run = workshop.copy(state, folder / "run")
            ended = command(words_of(verb, run, workshop), folder / "said", before=small_shards)
            assert ended.code == 0, f"{verb} fails on an undamaged run: {ended}"
    return Honest(folder, (folder / "said" / "stdout").read_text(encoding="utf-8"))


def try_verb(
    workshop: Workshop,
    state: str,
    verb: str,
    scratch: Path,
    damage: Callable[[Path], None],
    damaged: str,
    *,
    before: Callable[[], None] = small_shards,
) -> Judged:
    """Damage a file of a copy of a state, which is named `damaged` in it, and judge what a verb does then."""
    expected = honest(workshop, state, verb)
    run = workshop.copy(state, scratch / "run")
    damage(run)
    ended = command(words_of(verb, run, workshop), scratch / "said", before=before)
    if verb == "verify":
        return judged_verify(ended, run, workshop.state(state), damaged)
    return judged(ended, lambda: _compared(verb, ended, run, expected, damaged), names_for(damaged), noted=damaged)


def _compared(verb: str, ended: Ended, run: Path, expected: Honest, damaged: str) -> list[str]:
    """Return in what a verb that said it succeeded did something else than in the honest run."""
    was = expected.folder / "run"
    lines = differences(was, run, without=(damaged,))
    if verb == "status" and any(json.loads(ended.out)["steps"][step]["lost"] for step in range(2)):
        return []  # it says what the run has lost
    if verb in ("status", "explain"):
        lines += same_json(expected.out, ended.out, f"{verb}.json", (was, run))
    elif verb == "export":
        lines += differences(expected.folder / EXPORT, run.parent / EXPORT)
    elif verb == "report":
        lines += same_page(was, run)
    return lines


def names_for(damaged: str) -> tuple[str, ...]:
    """Return what a message may call a damaged file: its name, or the folder that it makes useless."""
    path = Path(damaged)
    return path.name, path.parent.name, *(parent.name for parent in path.parents if parent.name.endswith(".part"))


UNVERIFIED = {
    "report.html": "made again by `adaptinf report`",
    ".lock": "a process number",
    ".heartbeat.json": "what a process said last",
    "trial.json": "made again by the next step",
}
"""Files of a run that `verify` does not look at, and why."""


def judged_verify(ended: Ended, run: Path, was: Path, damaged: str) -> Judged:
    """Judge `verify` on a run with one damaged file: it ends with 2 and names the file or a folder that it is in."""
    found = fault(ended)
    if found is not None:
        return found
    if ended.code == 2:
        said = ended.out + ended.err
        if raw_controls(said):
            return Judged(Verdict.POOR_MESSAGE, f"raw control characters: {said[:200]!r}")
        names = [damaged, *(str(parent) for parent in Path(damaged).parents if str(parent) != ".")]
        if any(name in said for name in names):
            return HELD
        return Judged(Verdict.POOR_MESSAGE, f"names neither {damaged} nor its folder: {said[-400:]!r}")
    if is_unverified(run, was, damaged):
        return HELD
    return Judged(Verdict.SILENT_WRONG, f"verify says that all is whole, {damaged} is damaged")


def is_unverified(run: Path, was: Path, damaged: str) -> bool:
    """Tell whether damage to a file is none that `verify` has to find."""
    path = Path(damaged)
    if path.name in UNVERIFIED or any(part.endswith(".part") for part in path.parts):
        return True  # unfinished folders are checked by the stage that goes on with them
    if path.name == "config.yaml" and (run / damaged).is_file():
        try:
            now, before = ((yaml.safe_load((folder / damaged).read_bytes()) or {}) for folder in (run, was))
        except (yaml.YAMLError, ValueError):
            return False
        # Comments and who made it are no settings.
        return isinstance(now, dict) and {**now, "made_by": None} == {**before, "made_by": None}
    return False
