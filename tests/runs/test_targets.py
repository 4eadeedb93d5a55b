"""`selection.targets`: what is refused before anything is measured, in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adaptinf import config as configuration
from adaptinf.compare.variants import method_config
from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.runs import preflight
from adaptinf.runs.settings import as_placed
from adaptinf.runs.targets import content_of, read_targets
from tests.helpers.data_files import rows, write_lines


def aims(count: int) -> list[dict[str, Any]]:
    """Return conversations with answers."""
    turns = [[{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}] for n in range(count)]
    return [{"id": str(number), "messages": messages} for number, messages in enumerate(turns)]


def config_of(folder: Path, method: str, targets: str | None, **changes: Any) -> RunConfig:
    data = write_lines(folder / "a.jsonl", rows(0, 1))
    text = {"model": {"path": str(folder)}, "stream": [{"name": "one", "path": str(data)}], **changes}
    text["selection"] = {"method": method, "targets": targets}
    return configuration.resolve(configuration.parse(text, where="test"), folder)


def refusal(folder: Path, method: str, targets: str | None, **changes: Any) -> list[str]:
    try:
        preflight.check(config_of(folder, method, targets, **changes), whole_stream=True)
    except ConfigError as error:
        return [line.strip() for line in str(error).split("\n")[1:]]
    return []


def write(folder: Path, content: list[dict[str, Any]], name: str = "aims.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return name


@pytest.mark.parametrize("method", ["less", "round_robin", "rds_plus"])
def test_a_method_that_needs_targets_is_refused_without_them(tmp_path: Path, method: str) -> None:
    (line,) = refusal(tmp_path, method, None)
    assert line.startswith(f"selection.targets is missing, and the selector {method} chooses towards it: name a file")
    assert refusal(tmp_path, method, write(tmp_path, aims(3))) == []


def test_targets_that_a_method_does_not_use_are_refused(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "random_replay", write(tmp_path, aims(3)))
    assert "aims.jsonl is not used by the selector random_replay; leave it out, or choose a method that does" in line
    assert line.endswith("less, rds_plus, round_robin")


def test_targets_without_answers_are_named_with_their_row(tmp_path: Path) -> None:
    question = {"id": "q", "messages": [{"role": "user", "content": "What is it?"}]}
    answered = {"id": "a", "messages": [*question["messages"], {"role": "assistant", "content": "It."}]}
    (line,) = refusal(tmp_path, "less", write(tmp_path, [answered, question]))
    assert line.startswith("selection.targets: ") and "aims.jsonl row 1: " in line and "answer" in line, line
    empty = {**answered, "id": "e", "messages": [*question["messages"], {"role": "assistant", "content": ""}]}
    (line,) = refusal(tmp_path, "less", write(tmp_path, [answered, empty]))
    assert "aims.jsonl row 1: " in line and "empty" in line
    assert len(line) < 400


def test_a_file_that_is_missing_empty_or_broken_is_one_line(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "less", "./gone.jsonl")
    assert line == "selection.targets: gone.jsonl does not exist"
    (line,) = refusal(tmp_path, "less", write(tmp_path, []))
    assert line.startswith("selection.targets: ")
    (tmp_path / "aims.jsonl").write_text("{not json}\n")
    (line,) = refusal(tmp_path, "less", "aims.jsonl")
    assert line.startswith("selection.targets: ")


def test_the_test_items_of_a_skill_are_no_targets(tmp_path: Path) -> None:
    name = write(tmp_path, aims(3))
    test = {"skill": "sums", "path": str(tmp_path / name)}
    (line,) = refusal(tmp_path, "less", name, evaluation=[test])
    assert line.endswith("aims.jsonl has the test items of sums; choose towards other examples")


def test_a_file_that_has_moved_is_no_other_setting_and_one_with_another_row_is_other_content(tmp_path: Path) -> None:
    before = config_of(tmp_path, "less", write(tmp_path, aims(3)))
    moved = config_of(tmp_path, "less", write(tmp_path, aims(3), "moved.jsonl"))
    assert before.selection.targets != moved.selection.targets
    assert as_placed(moved, before).selection == before.selection
    assert content_of(read_targets(moved)) == content_of(read_targets(before))
    write(tmp_path, aims(4), "moved.jsonl")
    assert content_of(read_targets(moved)) != content_of(read_targets(before))


def test_in_a_comparison_targets_are_given_to_the_methods_that_use_them(tmp_path: Path) -> None:
    config = config_of(tmp_path, "less", write(tmp_path, aims(3)))
    given = {name: method_config(config, name, 0).selection.targets for name in ("less", "adapt", "random_replay")}
    assert given == {"less": str(tmp_path / "aims.jsonl"), "adapt": None, "random_replay": None}
