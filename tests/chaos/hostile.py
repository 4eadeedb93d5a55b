"""Hostile text in ids, skills, questions, answers, keys and arguments: what is printed and written is clean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.chaos.forks import Ended, command
from tests.chaos.judging import HELD, Case, Judged, Verdict, fault, raw_controls, refusal
from tests.chaos.runs import Workshop, small_shards
from tests.helpers.streams import row, write_test

STRINGS = {
    "escape": "a\x1b[31mred\x1b]0;title\x07",
    "csi": "a\x9b31mred",
    "bidi": "a\u202e\u2066txt.exe\u2069",
    "marks": "a\u200f\u061c\u200e",
    "nul": "a\x00b",
    "line-break": "a\none/000",
    "carriage-return": "a\radaptinf: fine",
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "backspace": "ab\x08\x08\x7f",
    "surrogate": "a\ud800b",
    "long": "long " * 200_000,
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "formula": "=cmd|' /C calc'!A0",
    "formula-wide": "\uff1d1+1",
    "formula-break": "\n=1+1",
    "path": "../../../etc/passwd",
    "option": "--help",
    "template": "{{ 7 * 7 }}{% raw %}",
    "percent": "%s%n%1$s{0}",
    "blank": " \t ",
    "emoji": "a\U0001f469\u200d\U0001f4bb\ufe0f\U000e0041",
}
FIELDS = ("id", "skill", "question", "answer", "key", "task")
"""Where a string is put in a row."""
VERBS: dict[str, Callable[[Path, str], tuple[object, ...]]] = {
    "validate": lambda f, id: ("validate", f / "hostile.json"),
    "inspect": lambda f, id: ("inspect", f / "hostile.json", "--row", 0),
    "inspect-html": lambda f, id: ("inspect", f / "hostile.json", "--html", f / "page.html"),
    "status": lambda f, id: ("status", f / "run"),
    "explain": lambda f, id: ("explain", f / "run", id),
    "export": lambda f, id: ("export", f / "run", "--step", 0, "--out", f / "out"),
    "report": lambda f, id: ("report", f / "run"),
    "restore": lambda f, id: ("restore", f / "run", id),
    "exclude": lambda f, id: ("exclude", f / "run", id, "--why", id),
    "add": lambda f, id: ("add", f / "run", f / "hostile.json", "--name", "again"),
}
ARGUMENTS: dict[str, Callable[[Workshop, Path, str], tuple[object, ...]]] = {
    "validate": lambda w, f, text: ("validate", f / text),
    "inspect": lambda w, f, text: ("inspect", w.inputs / "one.json", "--", text),
    "run": lambda w, f, text: ("run", w.stream(1), "--out", f / "new", "--set", f"selection.method={text}"),
    "set": lambda w, f, text: ("run", w.stream(1), "--out", f / "new", "--set", f"{text}=1"),
    "stream": lambda w, f, text: ("run", f / text),
    "add": lambda w, f, text: ("add", f / "run", w.inputs / "three.json", "--name", text),
    "explain": lambda w, f, text: ("explain", f / "run", "--", text),
    "withdraw": lambda w, f, text: ("withdraw", f / "run", "--", text),
    "restore": lambda w, f, text: ("restore", f / "run", "--", text),
    "exclude": lambda w, f, text: ("exclude", f / "run", "--", text),
    "export": lambda w, f, text: ("export", f / "run", "--step", 0, "--format", text),
    "report": lambda w, f, text: ("report", f / text),
    "select": lambda w, f, text: ("select", f / text, "--budget", 3, "--out", f / "chosen"),
    "compare": lambda w, f, text: ("compare", w.stream(1), "--methods", text, "--out", f / "compared"),
    "list": lambda w, f, text: ("list", "--plugins", f / text),
    "init": lambda w, f, text: ("init", f / "made", "--model", text),
    "command": lambda w, f, text: (text,),
}


def cases(workshop: Workshop) -> Iterator[Case]:
    """Yield each string in the data of a run with each command, and each string as an argument of each command."""
    for text in STRINGS:
        for verb in VERBS:
            do = partial(_try_data, workshop, text, verb)
            yield Case("hostile data", f"hostile/data/{text}/{verb}", do)
        for verb in ARGUMENTS:
            do = partial(_try_argument, workshop, text, verb)
            yield Case("hostile argument", f"hostile/argument/{text}/{verb}", do)


def rows_with(text: str) -> list[dict[str, Any]]:
    """Return rows with a string in every field, one field after another, and in all of them."""
    found = []
    for number, field in enumerate((*FIELDS, "all", "none")):
        given = {name: text if field in (name, "all") else f"{name} {number}" for name in FIELDS}
        one = row(number, given["question"], given["answer"], skill=given["skill"])
        found.append({**one, "id": given["id"], "task": given["task"], given["key"]: 1})
    return found


def _run(workshop: Workshop, text: str) -> Path:
    """Return the folder with a run on the rows of a string, made once: its data, `run` and what was said."""
    folder = workshop.folder / "hostile" / text
    with workshop.made_once(folder) as is_new:
        if is_new:
            folder.mkdir(parents=True)
            (folder / "hostile.json").write_text(json.dumps(rows_with(STRINGS[text])), encoding="utf-8")
            config = yaml.safe_load(workshop.stream(1).read_text(encoding="utf-8"))
            config["stream"] = [{"name": "hostile", "path": str(folder / "hostile.json")}]
            skill = STRINGS[text] if text not in ("surrogate", "long", "blank") else "skill"
            config["evaluation"] = [write_test(folder, "sums", rows_with("x")) | {"skill": skill}]
            config["selection"] = {"method": "random_replay", "budget": 6}
            config["pruning"] = {"cap": 6}
            (folder / "stream.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
            words = ("run", folder / "stream.yaml", "--out", folder / "run", "--quiet")
            command(words, folder / "said-run", before=small_shards)
    return folder


def _try_data(workshop: Workshop, text: str, verb: str, scratch: Path, rng: Random) -> Judged:
    folder = scratch / "tried"
    shutil.copytree(_run(workshop, text), folder)
    first = (folder / "said-run" / "stdout").read_bytes() + (folder / "said-run" / "stderr").read_bytes()
    if found := raw_controls(first.decode("utf-8", "surrogateescape")):
        return Judged(Verdict.POOR_MESSAGE, f"`run` printed raw {', '.join(found)}")
    if not (folder / "run/steps/00/pruning").exists():
        return Judged(Verdict.POOR_MESSAGE, f"`run` did not end: {first[-400:]!r}")
    tables = ("pruning/pruned.parquet", "selection/selection.parquet")
    id = rng.choice([id for name in tables for id in pq.read_table(folder / "run/steps/00" / name)["id"].to_pylist()])
    words = VERBS[verb](folder, id)
    if any("\x00" in str(word) for word in words):
        return HELD  # no argument of a command can hold it
    ended = command(words, scratch / "said", before=small_shards)
    found_fault = fault(ended)
    if found_fault is not None:
        return found_fault
    if verb == "export" and ended.code == 0:
        return _round_trip(folder)
    for page in (folder / "run" / "report.html", folder / "page.html"):
        if page.exists() and (raw := _raw_in_page(page, STRINGS[text])):
            return Judged(Verdict.POOR_MESSAGE, f"{page.name} has {raw}")
    return _plain(ended)


def _raw_in_page(page: Path, given: str) -> str:
    """Return what no page may hold: control characters of the data, and bytes that are no text."""
    try:
        text = page.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return str(error)
    # Scripts of others, which are in the page, have control characters of their own.
    wrong = {char for char in given if ord(char) < 32 and char not in "\t\n\r" and char in text}
    return ", ".join(sorted(f"U+{ord(char):04X}" for char in wrong))


def _round_trip(folder: Path) -> Judged:
    """Judge whether ids.txt names, line by line, what was selected."""
    wanted = pq.read_table(folder / "run/steps/00/selection/selection.parquet")["id"].to_pylist()
    lines = (folder / "out" / "ids.txt").read_bytes().decode("utf-8").split("\n")
    same = [line for line in lines if line]
    if len(same) != len(wanted) or len(set(same)) != len(same):
        return Judged(Verdict.SILENT_WRONG, f"ids.txt has {len(same)} lines for {len(wanted)} samples")
    return HELD


def _try_argument(workshop: Workshop, text: str, verb: str, scratch: Path, rng: Random) -> Judged:
    given = STRINGS[text][: 100_000 if text == "long" else None].replace("\x00", "\x01").replace("\ud800", "\udc80")
    if text == "path" and verb in ("validate", "stream", "report", "select", "list"):
        given = "../" * 30 + "etc/passwd"
    workshop.copy("finished", scratch / "run")
    ended = command(ARGUMENTS[verb](workshop, scratch, given), scratch / "said", before=small_shards)
    return fault(ended) or _plain(ended, is_argument=True)


def _plain(ended: Ended, *, is_argument: bool = False) -> Judged:
    """Judge the message of a command that refuses; validate says on standard output what is wrong with the data."""
    if ended.code != 2 or (ended.words[0] in ("validate", "inspect") and ended.out and not ended.err):
        return HELD
    return refusal(ended, is_argument=is_argument)
