"""Plug-ins: one decorator, a name that is unknown is told with the known ones, a user's file is imported by path."""

from __future__ import annotations

import pytest

from adaptinf import registry
from adaptinf.errors import ConfigError
from adaptinf.registry import Registry


@pytest.fixture
def metric():
    """The metrics, forgetting afterwards what a test registers."""
    with registry.scope():
        yield registry.metric


def test_the_built_in_plug_ins_are_found_without_being_imported_first():
    assert {"exact", "f1", "iou"} <= set(registry.metric.names())
    assert {"perplexity", "image_grounding", "el2n", "entropy"} <= set(registry.scorer.names())
    assert {"adapt", "lite_adapt", "random_replay", "sequential", "multitask"} <= set(registry.selector.names())
    assert {"llava", "messages"} <= set(registry.dataset_format.names())


def test_an_unknown_name_is_told_with_the_nearest_and_all_known_ones():
    with pytest.raises(ConfigError) as caught:
        registry.metric["exakt"]
    assert "unknown metric 'exakt'; did you mean 'exact'?" in str(caught.value)
    known = f"known: {', '.join(registry.metric.names())}"
    assert known in str(caught.value) and {"exact", "f1", "iou"} <= set(registry.metric.names())
    with pytest.raises(ConfigError, match=f"unknown metric 'zzz'; {known}"):
        registry.metric["zzz"]


def test_two_plug_ins_of_one_name_are_refused(metric):
    def mine(prediction, answer):
        return 0.0

    with pytest.raises(ConfigError, match="two metrics are called 'exact'"):
        metric("exact")(mine)


def test_a_users_file_registers_what_it_defines_and_may_be_loaded_twice(tmp_path, metric):
    path = tmp_path / "mine.py"
    path.write_text(
        "from adaptinf.registry import metric\n\n@metric('half')\ndef half(prediction, answer):\n    return 0.5\n"
    )
    registry.load_plugins([path])
    registry.load_plugins([str(path)])
    assert metric["half"]("a", "b") == 0.5


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken.py", "1 +", "SyntaxError"),
        ("failing.py", "raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("notes.txt", "hello", "is not a Python file"),
    ],
)
def test_a_plug_in_file_that_cannot_be_imported_is_named_with_its_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        registry.load_plugins([tmp_path / name])
    assert name in str(caught.value)


def test_a_missing_plug_in_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.py is not a file"):
        registry.load_plugins([tmp_path / "nowhere.py"])


def test_a_home_that_fails_to_import_fails_again_instead_of_looking_empty(monkeypatch):
    lost: Registry[object] = Registry("thing", "adaptinf.no_such_home")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            lost.names()
