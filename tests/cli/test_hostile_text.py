"""What a dataset can hold must not reach the terminal as it is: codes for the cursor, turned lines, faked lines."""

from __future__ import annotations

import ast
import io
import json
import logging
import unicodedata
from pathlib import Path

import pytest

from adaptinf import cli
from adaptinf.cli import output
from adaptinf.cli.progress import Lines

HOSTILE = "a\x1b[31m\u202eb\u200bc\x07\x9b2J\x00\u2028\u2029\x85\r\n9 rejected"
PACKAGE = Path(cli.__file__).parent


def raw(text: str) -> list[str]:
    """Return the characters of a text that a terminal would obey."""
    return [
        letter for letter in text if letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of which every text is hostile, its name included, and each row in another way."""

    def row(**changes: object) -> dict[str, object]:
        turns = [{"from": "human", "value": HOSTILE}, {"from": "gpt", "value": HOSTILE}]
        return {"id": HOSTILE, "skill": HOSTILE, "task": HOSTILE, "conversations": turns, **changes}

    rows = [
        row(),
        row(),
        row(image=f"{HOSTILE[:5]}.png"),
        row(conversations=HOSTILE),
        row(**{HOSTILE: HOSTILE}),
        row(id={}),
    ]
    path = tmp_path / "x\x1b[2J\u202ey.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["validate", "DATA"], ["validate", "DATA", "--format", HOSTILE.replace("\x00", "")],
        ["inspect", "DATA", "0"], ["inspect", "DATA", "--random", "6"], ["inspect", "DATA", "--row", "3"],
        ["inspect", "DATA", HOSTILE.replace("\x00", "")], ["validate", "missing\x1b[31m"], ["list", "--\x1b[31m"],
        ["explain", "no\x1b[31m run", "x"], ["status", "no\x1b[31m run"], ["run", "DATA", "--set", "\x1b[31m=1"],
    ],
)  # fmt: skip
def test_no_command_prints_a_character_that_a_terminal_obeys(call, data: Path, words: list[str]) -> None:
    code, out, err = call(*(data if word == "DATA" else word for word in words))
    assert code in (0, 2) and out + err
    assert raw(out + err) == []
    assert "\\x1b" in out + err
    assert "9 rejected" not in (out + err).split("\n")


@pytest.mark.parametrize("words", [["validate", "DATA"], ["inspect", "DATA", "0"]])
def test_json_stays_json_and_holds_the_texts_as_they_are(call, data: Path, words: list[str]) -> None:
    _, out, _ = call(*(data if word == "DATA" else word for word in words), "--json")
    assert raw(out) == [] and "\\u202e" in out
    found = json.loads(out)
    assert HOSTILE in (found["skills"] if words[0] == "validate" else found["meta"]["skill"])


def test_a_progress_line_a_log_line_and_an_error_are_one_line_without_codes(capsys, monkeypatch) -> None:
    stream = io.StringIO()
    shown = Lines(stream)
    with shown.stage(HOSTILE, 1):
        shown.note(HOSTILE)
    assert raw(stream.getvalue()) == [] and stream.getvalue().count("\n") == 2
    record = logging.LogRecord("x", logging.WARNING, "x", 1, HOSTILE, None, None)
    assert raw(output._Escaping("%(message)s").format(record)) == []
    output.say_error("2 mistakes:\n  one\n  two\nno line of its own")
    assert capsys.readouterr().err == "adaptinf: 2 mistakes:\n  one\n  two\\nno line of its own\n"
    output.say_error(HOSTILE + "x" * 10_000 + "; do this")
    err = capsys.readouterr().err
    assert raw(err) == [] and len(err) < 1200 and err.endswith("x; do this\n")


def test_our_own_colours_pass_and_those_of_the_data_do_not(capsys) -> None:
    from adaptinf.cli.sample_text import _seen
    from adaptinf.doctor.inspected import Piece

    piece = Piece(text=f"{output.PLAIN}\x1b[31mred\nblue", num_tokens=1, is_answer=True, is_image=False)
    output.say_coloured(_seen(piece, colour=True))
    assert capsys.readouterr().out == f"{output.GREEN}\\x1b[0m\\x1b[31mred\nblue{output.PLAIN}\n"


def test_nothing_but_the_output_module_prints() -> None:
    """So that no text can pass it by."""
    found = []
    for path in PACKAGE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = isinstance(node, ast.Call) and ast.unparse(node.func)
            if names in ("print", "typer.echo", "typer.secho", "click.echo", "traceback.print_exc") or (
                names and names.startswith(("sys.stdout.write", "sys.stderr.write"))
            ):
                found.append(path.name)
    assert found == []


def test_names_of_a_megabyte_are_cut(call, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    rows = [{"id": "x" * 1_000_000, "skill": f"{number}" * 1_000_000, "conversations": turns} for number in range(2)]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    for words in (
        ["validate", tmp_path / "x.json"],
        ["inspect", tmp_path / "x.json", "y"],
        ["inspect", tmp_path / "x.json", "--row", "0"],
    ):
        _, out, err = call(*words)
        assert len(out + err) < 5000
