"""What methods say of themselves in class variables; selectors written before there were any still work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from adaptinf import selection
from adaptinf.compare.variants import method_config
from adaptinf.config import RunConfig, SelectionConfig
from adaptinf.errors import ConfigError
from adaptinf.registry import scope, selector
from adaptinf.selection import Candidates, Choice, ClusterRank, rank_in_cluster, select
from adaptinf.selection.options import FORMER, known_options, with_current_names
from adaptinf.selection.traits import PAPER_SETTINGS, Traits, auto_settings, methods_with_role, traits_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_selector.py"
IDS = [f"toy/{row}" for row in range(6)]


@pytest.fixture(autouse=True)
def own_scope() -> Iterator[None]:
    with scope():
        yield


def choose_first(self: object, candidates: Candidates, budget: int) -> Choice:
    return Choice(rows=np.arange(budget))


def register(name: str, **variables: object) -> None:
    """Register a selector with some class variables."""
    body = {"needs": frozenset(), "choose": choose_first, **variables}
    selector(name)(dataclass(frozen=True, kw_only=True)(type(name, (), body)))


def test_the_built_in_methods_have_their_roles() -> None:
    roles = {role: methods_with_role(role) for role in ("baseline", "lower reference", "upper reference", "reference")}
    assert roles == {
        "baseline": ["random_replay"],
        "lower reference": ["sequential"],
        "upper reference": ["multitask"],
        "reference": ["oracle"],
    }
    assert [name for name in selector.names() if traits_of(name).whole_pool] == ["multitask"]
    assert [name for name in selector.names() if traits_of(name).capped_in_comparisons] == ["lite_adapt"]


def test_a_selector_without_class_variables_and_an_unknown_one_have_the_defaults() -> None:
    with scope([EXAMPLE]):
        assert traits_of("largest") == Traits(role="method", whole_pool=False, capped_in_comparisons=False)
        assert auto_settings("largest") == PAPER_SETTINGS
    assert traits_of("largest") == Traits()
    with pytest.raises(ConfigError, match="unknown selector 'largest'"):
        auto_settings("largest")


def test_a_role_that_does_not_exist_is_refused() -> None:
    register("mine", role="base line")
    with pytest.raises(ConfigError, match="role of the selector mine='base line': did you mean 'baseline'"):
        traits_of("mine")


def test_the_former_name_of_auto_settings_is_still_read() -> None:
    register("old", wishes={"clustering.clusters": 50})
    register("both", wishes={"clustering.clusters": 50}, auto_settings={"extraction.vector": "hidden"})
    assert auto_settings("old") == {**PAPER_SETTINGS, "clustering.clusters": 50}
    assert auto_settings("both") == {**PAPER_SETTINGS, "extraction.vector": "hidden"}
    assert selection.wishes is auto_settings


def pool() -> dict[str, object]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    return {
        "scores": {"perplexity": rng.random(60)},
        "labels": labels,
        "ids": [f"{row:02d}" for row in range(60)],
        "centers": rng.standard_normal((6, 3)),
    }


def test_an_option_is_read_by_its_former_name_and_not_by_both() -> None:
    old, new = (
        select(**pool(), budget=20, method="adapt_plus", **{name: 3}) for name in ("joined", "num_joint_clusters")
    )
    assert old.ids.tolist() == new.ids.tolist()
    assert old.ids.tolist() != select(**pool(), budget=20, method="adapt_plus").ids.tolist()
    assert known_options("adapt_plus") == ("num_joint_clusters", "budgets", "tail")
    with pytest.raises(ConfigError, match="joined is the former name of num_joint_clusters, an option of adapt_plus"):
        select(**pool(), budget=20, method="adapt_plus", num_joint_clusters=3, joined=3)
    with pytest.raises(ConfigError, match="adapt has no option 'joined'; .*; methods that have joined: adapt_plus"):
        select(**pool(), budget=20, method="adapt", joined=3)


def test_a_stream_that_names_an_option_by_its_former_name_asks_it_of_the_method_that_has_it() -> None:
    config = RunConfig(selection=SelectionConfig(options={"joined": 3}))
    assert method_config(config, "adapt_plus", 0).selection.options == {"joined": 3}
    assert method_config(config, "adapt", 0).selection.options == {}


def test_options_of_ones_own_may_have_former_names_too() -> None:
    @selector("mine")
    @dataclass(frozen=True, kw_only=True)
    class Mine:
        needs: ClassVar[frozenset[str]] = frozenset()
        size: int = field(default=1, metadata={FORMER: "length"})

        choose = choose_first

    assert with_current_names("mine", {"length": 3}) == {"size": 3} == with_current_names("mine", {"size": 3})


def test_a_selector_sees_the_current_step_even_where_nothing_arrived_at_it() -> None:
    seen = []

    @selector("mine")
    @dataclass(frozen=True, kw_only=True)
    class Mine:
        needs: ClassVar[frozenset[str]] = frozenset({"arrived"})
        auto_settings: ClassVar[Mapping[str, object]] = {}

        def choose(self, candidates: Candidates, budget: int) -> Choice:
            seen.append(candidates.current_step)
            return Choice(rows=np.arange(budget))

    select(None, None, IDS, 2, method="mine", arrived=[0] * 6, current_step=1)
    select(None, None, IDS, 2, method="mine", arrived=[0] * 6)
    assert set(seen) == {1, None}
    arrived = [0, 0, 1, 1, 1, 2]
    for step, found in ((1, 3), (2, 1), (3, 0), (None, 1)):
        assert len(select(None, None, IDS, 4, method="sequential", arrived=arrived, current_step=step).ids) == found


def test_a_selector_of_ones_own_may_tell_the_rank_of_a_sample() -> None:
    @selector("mine")
    @dataclass(frozen=True, kw_only=True)
    class Mine:
        needs: ClassVar[frozenset[str]] = frozenset()

        choose = choose_first

        def rank_in_cluster(self, candidates: Candidates, row: int, budget: int) -> ClusterRank:
            return ClusterRank("none", float("nan"), -1, 0, 0, rank=row, budget=budget, size=len(candidates))

    found = rank_in_cluster("toy/4", {}, [0] * 6, IDS, 3, method="mine")
    assert found is not None and (found.rank, found.budget, found.size) == (4, 3, 6)
