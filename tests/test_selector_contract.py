"""The contract of every registered selector, the user's included: exact, seeded, blind to the order of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from adaptinf.data import Selection
from adaptinf.errors import AdaptError, ConfigError
from adaptinf.registry import load_plugins, scope, scorer, selector
from adaptinf.selection import Candidates, Choice, Restricting, select
from adaptinf.selection.inputs import gather
from adaptinf.selection.interface import INPUTS
from tests.helpers.toy_scores import toy_history, toy_targets

EXAMPLE = Path(__file__).parent.parent / "examples" / "my_selector.py"
METHODS = [*selector.names(), "largest"]
"""The built-in ones, and the user's from EXAMPLE."""
SCORERS = scorer.names()
SIZE = 60


@pytest.fixture(autouse=True)
def the_users_selector() -> Iterator[None]:
    """Load the example, and forget it afterwards, with what a test registers beside it."""
    with scope([EXAMPLE]):
        yield


def toy_inputs(num_rows: int = SIZE) -> dict[str, Any]:
    """Everything that a selector may ask for, in row order."""
    rng = np.random.default_rng(num_rows)
    return {
        "scores": {name: rng.standard_normal(num_rows) for name in SCORERS},
        "labels": np.arange(num_rows) % 4,
        "vectors": rng.standard_normal((num_rows, 6)).astype(np.float16),
        "embeddings": rng.standard_normal((num_rows, 5)).astype(np.float16),
        "distances": rng.random(num_rows),
        "arrived": np.zeros(num_rows, dtype=int),
        "skills": np.array(["see", "read", "count"], dtype=object)[np.arange(num_rows) % 3],
        "history": toy_history(np.zeros(num_rows, dtype=int), SCORERS, num_steps=2),
        "ids": np.array([f"toy/{i}" for i in range(num_rows)], dtype=object),
    }


def run(method: str, inputs: dict[str, Any], budget: int, seed: int = 0) -> Selection:
    return select(**inputs, centers=np.eye(4, 6), targets=toy_targets(6), budget=budget, method=method, seed=seed)


def take(inputs: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    scores = {name: score[rows] for name, score in inputs["scores"].items()}
    own = {"scores": scores, "history": inputs["history"].take(rows)}
    return {name: own[name] if name in own else values[rows] for name, values in inputs.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [0, 1, 7, SIZE - 1, SIZE, SIZE + 40])
def test_it_chooses_exactly_the_budget(method: str, budget: int) -> None:
    chosen = run(method, toy_inputs(), budget)
    assert len(set(chosen.ids)) == len(chosen.indices) == min(budget, SIZE)
    assert chosen.indices.dtype == np.int64
    assert (toy_inputs()["ids"][chosen.indices] == chosen.ids).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_rows", [0, 1, 2])
def test_tiny_pools_are_fine(method: str, num_rows: int) -> None:
    assert len(run(method, toy_inputs(num_rows), 5).ids) == num_rows


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_does_not_matter(method: str) -> None:
    inputs, shuffle = toy_inputs(), np.random.default_rng(0).permutation(SIZE)
    assert set(run(method, inputs, 23).ids) == set(run(method, take(inputs, shuffle), 23).ids)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_choice(method: str) -> None:
    inputs = toy_inputs()
    assert run(method, inputs, 23, seed=5).ids.tolist() == run(method, inputs, 23, seed=5).ids.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_choice(method: str) -> None:
    """No method has a reason to prefer one of several samples with the same scores, vectors and distances."""
    inputs = toy_inputs()
    inputs["scores"] = {name: np.zeros(SIZE) for name in SCORERS}
    for name in ("vectors", "embeddings", "distances"):
        inputs[name] = np.ones_like(inputs[name])
    assert len({tuple(sorted(run(method, inputs, 23, seed=seed).ids)) for seed in range(10)}) > 1


@pytest.mark.parametrize("method", METHODS)
def test_tables_have_their_columns_and_survive_the_disk(method: str, tmp_path: Path) -> None:
    chosen = run(method, toy_inputs(), 23)
    assert list(chosen.table) == ["id", "cluster", "scorer", "score", "bin", "rank"]
    dtypes = {name: column.dtype.kind for name, column in chosen.table.items()}
    assert dtypes == {"id": "O", "cluster": "i", "scorer": "O", "score": "f", "bin": "i", "rank": "i"}
    assert list(chosen.clusters)[:4] == ["cluster", "size", "budget", "scorer"]
    chosen.save(tmp_path)
    assert Selection.load(tmp_path).ids.tolist() == chosen.ids.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_missing_and_constant_scores_never_crash(method: str) -> None:
    inputs = toy_inputs()
    for value in (np.nan, np.inf, 3.0):
        inputs["scores"] = {name: np.full(SIZE, value) for name in SCORERS}
        assert len(run(method, inputs, 23).ids) == 23


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labels", [np.arange(SIZE), np.repeat([0, 7, 59], [1, 1, SIZE - 2])])
def test_one_row_clusters_and_empty_ones_are_fine(method: str, labels: np.ndarray) -> None:
    inputs = {**toy_inputs(), "labels": labels, "centers": np.random.default_rng(0).standard_normal((SIZE, 6))}
    inputs["targets"] = toy_targets(6)
    for budget in (1, 2, 23, SIZE):
        assert len(set(select(**inputs, budget=budget, method=method).ids)) == budget


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_usable_vectors_never_crash(method: str) -> None:
    inputs = toy_inputs()
    for value in (np.nan, np.inf, 0.0):
        for name in ("vectors", "embeddings", "distances"):
            inputs[name][5:9] = value
        assert len(set(run(method, inputs, 23).ids)) == 23


@pytest.mark.parametrize("method", METHODS)
def test_memmaps_and_tensors_are_read_as_arrays_are(method: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    inputs = toy_inputs()
    expected = run(method, inputs, 23).ids.tolist()
    mapped = dict(inputs)
    for name in ("vectors", "embeddings"):
        np.save(tmp_path / f"{name}.npy", inputs[name])
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert run(method, mapped, 23).ids.tolist() == expected
    tensors = {name: torch.from_numpy(inputs[name]) for name in ("labels", "vectors", "embeddings", "arrived")}
    tensors["scores"] = {name: torch.from_numpy(score).requires_grad_() for name, score in inputs["scores"].items()}
    tensors["distances"] = torch.from_numpy(inputs["distances"])
    assert run(method, {**inputs, **tensors}, 23).ids.tolist() == expected


@pytest.mark.parametrize("method", METHODS)
def test_unscored_samples_come_last(method: str) -> None:
    inputs = toy_inputs()
    inputs["labels"] = np.where(np.arange(SIZE) < 10, -1, inputs["labels"])
    assert run(method, inputs, SIZE - 10).indices.min() == 10
    assert len(run(method, inputs, SIZE).ids) == SIZE


@pytest.mark.parametrize("method", METHODS)
def test_what_it_needs_is_a_known_input_and_its_absence_an_error(method: str) -> None:
    for name in selector[method].needs:
        assert name in INPUTS
        with pytest.raises(ConfigError, match=f"{method} needs .*{name}"):
            select(
                **{**toy_inputs(), "centers": np.eye(4, 6), "targets": toy_targets(6), name: None},
                budget=5,
                method=method,
            )


@pytest.mark.parametrize("method", METHODS)
def test_it_runs_with_nothing_but_what_it_needs(method: str) -> None:
    inputs = {**toy_inputs(), "centers": np.eye(4, 6), "targets": toy_targets(6)}
    needed = {name: inputs[name] for name in selector[method].needs}
    absent = {name: None for name in ("scores", "labels") if name not in needed}
    assert len(select(**needed, **absent, ids=inputs["ids"], budget=9, method=method).ids) == 9


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_option_is_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="no option 'buget'"):
        select(**toy_inputs(), centers=np.eye(4, 6), budget=5, method=method, buget=1)


def test_large_arrays_reach_a_method_that_needs_them_only() -> None:
    @selector("looking")
    @dataclass(frozen=True, kw_only=True)
    class Looking:
        needs: ClassVar[frozenset[str]] = frozenset({"vectors"})

        def choose(self, candidates: Candidates, budget: int) -> Choice:
            assert candidates.vectors is not None and candidates.embeddings is None
            return Choice(rows=np.arange(budget))

    assert len(run("looking", toy_inputs(), 5).ids) == 5


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import selector
from adaptinf.selection import Candidates, Choice


@selector("highest")
@dataclass(frozen=True, kw_only=True)
class Highest:
    needs: ClassVar[frozenset[str]] = frozenset({"scores"})
    scorer: str = "el2n"

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        return Choice(rows=np.argsort(-candidates.scores[self.scorer], kind="stable")[:budget])
"""


def test_a_users_own_file_is_one_class_with_one_decorator(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    load_plugins([tmp_path / "mine.py"])
    inputs = toy_inputs()
    chosen = select(**inputs, budget=5, method="highest", scorer="entropy")
    assert set(chosen.indices) == set(np.argsort(-inputs["scores"]["entropy"])[:5])
    assert len(chosen.clusters["cluster"]) == 0


def test_a_selector_that_miscounts_is_told_so() -> None:
    @selector("twice")
    @dataclass(frozen=True, kw_only=True)
    class Twice:
        needs: ClassVar[frozenset[str]] = frozenset()

        def choose(self, candidates: Candidates, budget: int) -> Choice:
            return Choice(rows=np.zeros(budget, dtype=int))

    with pytest.raises(AdaptError, match=r"twice chose 5 rows, 1 different, of 5; repair its choose\(\)"):
        select(**toy_inputs(), budget=5, method="twice")


def test_a_selector_that_restricts_its_candidates_chooses_among_the_eligible_ones() -> None:
    inputs = {**toy_inputs(), "arrived": np.arange(SIZE) % 2}
    candidates, rows = gather(
        inputs["ids"], {**inputs, "centers": np.eye(4, 6), "targets": toy_targets(6)}, 0, needs=INPUTS
    )
    restricting: dict[str, Any] = {name: selector[name]() for name in METHODS}
    restricting = {name: chooser for name, chooser in restricting.items() if isinstance(chooser, Restricting)}
    assert "sequential" in restricting
    for method, chooser in restricting.items():
        eligible = chooser.eligible(candidates)
        assert (eligible.shape, eligible.dtype) == ((SIZE,), bool), method
        assert set(run(method, inputs, SIZE).indices) == set(rows[eligible]), method
