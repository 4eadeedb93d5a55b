"""A run's method is asked what it is, wherever it is defined: the cap and the role follow from it."""

from __future__ import annotations

import pytest

from adaptinf.config import PruningConfig, RunConfig, SelectionConfig
from adaptinf.registry import scope
from adaptinf.runs.methods import cap_of, method_traits
from tests.helpers.plugin_files import WHOLE_POOL_METHOD


def config(method: str, *, cap: int | str = "auto", plugins: tuple[str, ...] = ()) -> RunConfig:
    return RunConfig(
        selection=SelectionConfig(method=method, budget=10), pruning=PruningConfig(cap=cap), plugins=list(plugins)
    )


@pytest.mark.parametrize(
    ("method", "cap", "expected"),
    [
        ("adapt", "auto", 40),
        ("adapt", 7, 7),
        ("adapt", "none", None),
        ("multitask", "auto", None),
        ("multitask", 7, 7),
        ("no_such_method", "auto", 40),
    ],
)
def test_the_cap_is_four_budgets_unless_the_settings_or_the_method_say_otherwise(method, cap, expected):
    assert cap_of(config(method, cap=cap)) == expected


def test_a_method_of_ones_own_is_asked_in_the_scope_of_its_run_and_has_the_defaults_when_its_file_is_gone(tmp_path):
    path = tmp_path / "whole.py"
    path.write_text(WHOLE_POOL_METHOD)
    mine = config("everything", plugins=(str(path),))
    assert cap_of(mine) is None and method_traits(mine).role == "upper reference"
    path.write_text(WHOLE_POOL_METHOD.replace("upper reference", "reference"))
    with scope([path]):
        path.write_text(WHOLE_POOL_METHOD)
        assert method_traits(mine).role == "upper reference"
    path.unlink()
    assert cap_of(mine) == 40 and method_traits(mine).role == "method"
