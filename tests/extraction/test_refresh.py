"""Which samples a step measures, what is put together of old and new, and how far a model has moved on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.arrays.seeded import hash_ids
from adaptinf.clustering import cluster
from adaptinf.data import Features
from adaptinf.data.refresh import CONTROL_ROWS, Refresh, expected_rows
from adaptinf.extraction.refresh import carrying, drift
from adaptinf.extraction.refresh.carrying import Piece, joined
from adaptinf.extraction.refresh.plan import Earlier, Reason, RefreshPlan, make_plan
from adaptinf.extraction.shards import UNREADABLE
from adaptinf.storage import checksums, tables

REFRESH = st.one_of(
    st.sampled_from(["all", "new"]),
    st.floats(0.01, 0.99),
    st.builds(lambda age: {"max_age": age}, st.integers(1, 4)),
)


def planned(refresh: Refresh, measured_at: np.ndarray, *, step: int, seed: int = 0, **must: np.ndarray) -> RefreshPlan:
    """Return the plan for samples of which -1 are new, the others in the features of the step before."""
    ids = np.array([f"s{row:05d}" for row in range(len(measured_at))], dtype=object)
    earlier = Earlier(row_N=np.where(measured_at < 0, -1, np.arange(len(measured_at))), measured_at_N=measured_at)
    reasons = {Reason[name.upper()]: mask for name, mask in must.items()}
    return make_plan(earlier, refresh, reasons, hashes=hash_ids(ids), step=step, seed=seed)


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, int, np.ndarray]:
    """Return when each sample was measured (-1: never), the step, and which samples were selected."""
    step = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 2000))
    return rng.integers(-1, step, count), step, rng.random(count) < draw(st.floats(0, 0.4))


@settings(deadline=None)  # the first pool loads libraries
@given(pools(), REFRESH, st.integers(0, 99))
def test_new_and_selected_samples_are_always_measured(pool, refresh, seed):
    measured_at, step, selected = pool
    plan = planned(refresh, measured_at, step=step, seed=seed, selected=selected)
    must = (measured_at < 0) | selected
    assert not np.isin(np.flatnonzero(must), plan.carried).any()
    assert sorted([*plan.measured, *plan.carried]) == list(range(len(measured_at)))
    assert sum(plan.counts().values()) == len(plan.measured)


@given(pools(), st.floats(0.01, 0.99))
def test_a_share_is_exact_with_halves_rounded_up(pool, share):
    measured_at, step, selected = pool
    plan = planned(share, measured_at, step=step, selected=selected)
    known = measured_at >= 0
    # What must be measured and the control sample count towards the share, and are measured whatever it is.
    floor = int((known & selected).sum())
    floor += min(CONTROL_ROWS, int(known.sum()) - floor)
    wanted = int(Fraction(repr(share)) * int(known.sum()) + Fraction(1, 2))
    assert int((known[plan.measured]).sum()) == max(wanted, floor)


def test_a_share_counts_as_the_decimal_number_that_was_written():
    # 0.29 of 1,450 are 420.5, and the product of floats is less.
    plan = planned(0.29, np.zeros(1450, np.int64), step=1)
    assert len(plan.measured) == 421


@given(pools(), st.integers(1, 5))
def test_no_age_exceeds_max_age(pool, max_age):
    measured_at, step, selected = pool
    plan = planned({"max_age": max_age}, measured_at, step=step, selected=selected)
    assert (step - measured_at[plan.carried] <= max_age).all()
    due = plan.reason_N == Reason.DUE
    assert (step - measured_at[due] > max_age).all(), "and nothing is measured before its time"


@given(pools())
def test_new_measures_no_more_than_it_must_and_all_everything(pool):
    measured_at, step, selected = pool
    assert not (planned("new", measured_at, step=step, selected=selected).reason_N == Reason.DUE).any()
    assert not len(planned("all", measured_at, step=step, selected=selected).carried)


@given(st.sampled_from([0.5, 0.25, 0.1]), st.integers(0, 9))
def test_every_sample_has_its_turn(share, seed):
    # Of a pool that does not grow; the control sample takes a part of each share.
    count = 8 * CONTROL_ROWS
    measured_at = np.zeros(count, np.int64)
    num_steps = int(np.ceil(count / (share * count - min(CONTROL_ROWS, share * count - 1)))) if share > 0.125 else 0
    for step in range(1, num_steps + 1):
        measured_at = measured_at.copy()
        measured_at[planned(share, measured_at, step=step, seed=seed).measured] = step
    assert num_steps == 0 or measured_at.min() > 0


@given(pools(), REFRESH, st.integers(0, 99))
def test_a_plan_depends_on_ids_and_seed_only(pool, refresh, seed):
    measured_at, step, selected = pool
    plan = planned(refresh, measured_at, step=step, seed=seed, selected=selected)
    again = planned(refresh, measured_at, step=step, seed=seed, selected=selected)
    assert np.array_equal(plan.reason_N, again.reason_N)


def test_another_control_sample_is_drawn_at_each_step():
    measured_at = np.zeros(4000, np.int64)
    first, second = (set(planned("new", measured_at, step=step).control.tolist()) for step in (1, 2))
    assert len(first) == len(second) == CONTROL_ROWS and first != second


def test_a_plan_is_saved_and_loaded(tmp_path: Path):
    plan = planned(0.25, np.array([-1, 0, 1, 0, 2] * 200), step=3, selected=np.arange(1000) % 7 == 0)
    plan.save(tmp_path / "plan.parquet")
    loaded = RefreshPlan.load(tmp_path / "plan.parquet")
    for name in ("reason_N", "row_N", "measured_at_N"):
        assert np.array_equal(getattr(loaded, name), getattr(plan, name)), name


def features(ids: list[str], vectors: np.ndarray, unusable: dict[str, str] | None = None) -> Features:
    return Features(
        ids=tables.text_array(ids),
        vectors=vectors.astype(np.float16),
        embeddings=(vectors[:, :2] * 3).astype(np.float16),
        scores={"el2n": vectors[:, 0].astype(np.float64)},
        info={"dim": vectors.shape[1]},
        unusable=unusable or {},
    )


def test_old_and_new_are_put_together_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        carrying, "blocks", lambda count, _: (slice(at, min(at + 2, count)) for at in range(0, count, 2))
    )
    rng = np.random.default_rng(0)
    before = features(["a", "b", "c", "e"], rng.normal(size=(4, 3)), {"c": UNREADABLE})
    before.vectors[2] = 0
    now = features(["d", "e"], rng.normal(size=(2, 3)))
    pieces = [
        Piece(np.array([3, 4]), now, np.array([0, 1]), np.array([5, 5])),
        Piece(np.array([0, 1, 2]), before, np.array([0, 1, 2]), np.array([4, 2, 4])),
    ]
    found = joined(tables.text_array(list("abcde")), pieces, tmp_path)
    assert np.array_equal(found.vectors, np.concatenate([before.vectors[:3], now.vectors]))
    assert np.array_equal(found.embeddings, np.concatenate([before.embeddings[:3], now.embeddings]))
    assert found.scores["el2n"].tolist() == [*before.scores["el2n"][:3], *now.scores["el2n"]]
    assert found.measured_at is not None and found.measured_at.tolist() == [4, 2, 4, 5, 5]
    assert found.unusable == {"c": UNREADABLE}
    counts = {name: found.info[name] for name in ("unscored", "no_answer", "no_vector", "unreadable", "refused")}
    assert counts == {"unscored": 1, "no_answer": 0, "no_vector": 0, "unreadable": ["c"], "refused": 0}


def saved(folder: Path, made: Features) -> Features:
    folder.mkdir()
    made.save(folder)
    checksums.seal(folder, block_bytes=256)
    return Features.load(folder)


def test_a_damaged_block_loses_its_rows_only(tmp_path: Path):
    made = features([f"{row:02d}" for row in range(64)], np.ones((64, 8)))
    saved(tmp_path / "features", made)
    path = tmp_path / "features" / Features.VECTORS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    lost = carrying.lost_rows(Features.load(tmp_path / "features"), np.arange(64))
    assert lost[-1] and not lost[:32].any()


def test_arrays_that_were_dropped_are_lost_for_all_rows(tmp_path: Path):
    made = saved(tmp_path / "features", features(["a", "b"], np.ones((2, 8))))
    assert not carrying.lost_rows(made, np.arange(2)).any()
    Features.drop_arrays(tmp_path / "features")
    assert carrying.lost_rows(Features.load(tmp_path / "features"), np.arange(2)).all()


def test_ages_are_a_column_and_a_folder_without_it_was_measured_at_once(tmp_path: Path):
    made = features(["a", "b"], np.ones((2, 8)))
    assert saved(tmp_path / "old", made).steps_measured_at(7).tolist() == [7, 7]
    aged = Features(**{**vars(made), "measured_at": np.array([3, 7])})
    found = saved(tmp_path / "new", aged)
    assert found.steps_measured_at(7).tolist() == [3, 7] and set(found.scores) == {"el2n"}


def shift(before: np.ndarray, now: np.ndarray, scores: np.ndarray | None = None, moved: float = 0.0) -> drift.Shift:
    values = np.zeros(len(before)) if scores is None else scores
    was, found = {"el2n": values}, {"el2n": values + moved}
    return drift.shift_of(before, now, was, found, drift.mean_cosine(before))


def test_the_relative_cosine_is_1_for_the_same_and_near_0_for_shuffled_vectors():
    rng = np.random.default_rng(0)
    # Hidden states: all of them are similar, so that a plain cosine says little.
    before = rng.normal(size=(400, 32)) + 5
    same, shuffled = shift(before, before), shift(before, np.roll(before, 1, axis=0))
    assert same.relative_cosine == pytest.approx(1) and abs(shuffled.relative_cosine) < 0.1
    assert shuffled.cosine > 0.9
    assert drift.too_far({1: same}, same) is None
    assert "relative cosine" in str(drift.too_far({1: shuffled}, shuffled))


def test_one_age_that_has_drifted_is_enough():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(400, 32))
    now = before.copy()
    now[:20] = rng.normal(size=(20, 32))
    spread = drift.mean_cosine(before)
    young = drift.shift_of(before[20:], now[20:], {}, {}, spread)
    old = drift.shift_of(before[:20], now[:20], {}, {}, spread)
    assert "age 4" in str(drift.too_far({1: young, 4: old}, drift.shift_of(before, now, {}, {}, spread)))


def test_vectors_that_vanish_have_drifted_as_far_as_can_be():
    before = np.random.default_rng(0).normal(size=(40, 8))
    assert drift.too_far({}, shift(before, np.zeros_like(before))) is not None


def test_a_score_that_tells_old_from_new_is_enough():
    before, scores = np.random.default_rng(0).normal(size=(40, 8)), np.linspace(0, 1, 40)
    slightly, wholly = shift(before, before, scores, 0.05), shift(before, before, scores, 2)
    assert drift.too_far({}, slightly) is None
    found = {"rows": 40, "shift": pytest.approx(2), "rank_correlation": pytest.approx(1), "separation": 1}
    assert wholly.scores["el2n"] == found
    few = shift(before[:4], before[:4], scores[:4], 2)
    assert few.scores["el2n"]["separation"] == 1 and drift.too_far({}, few) is None
    assert "el2n" in str(drift.too_far({}, wholly))


def test_clusters_separate_vectors_that_have_moved_by_more_than_a_cluster():
    rng = np.random.default_rng(0)
    before = np.repeat(rng.normal(size=(8, 16)), 40, axis=0) + 0.1 * rng.normal(size=(320, 16))
    control = np.arange(0, 320, 5)
    for moved, bound in ((0.0, (-0.1, 0.02)), (4.0, (0.15, 1.0))):
        now = before.copy()
        now[control] += moved * np.eye(16)[0]
        found = cluster(now, ids=[f"{row:03d}" for row in range(320)], clusters=16, seed=0)
        ami = drift.separation(found, found.labels[control], before[control])
        assert bound[0] <= ami <= bound[1], (moved, ami)


@pytest.mark.parametrize("refresh", ["all", "new", 0.25, 0.5, {"max_age": 2}])
def test_the_expected_rows_are_those_that_a_plan_measures(refresh):
    sizes, budget = [3000, 2000, 2500, 1000, 3000], 600
    rng, measured_at, found = np.random.default_rng(0), np.zeros(0, np.int64), []
    for step, size in enumerate(sizes):
        selected = np.zeros(len(measured_at) + size, bool)
        selected[rng.permutation(len(measured_at))[:budget]] = True
        measured_at = np.concatenate([measured_at, np.full(size, -1)])
        plan = planned(refresh, measured_at, step=step, selected=selected)
        measured_at[plan.measured] = step
        found.append(len(plan.measured))
    expected = expected_rows(sizes, None, budget, refresh)
    np.testing.assert_allclose(expected, found, rtol=0.05)
    assert expected_rows([100, 300], 50, 20, "all") == [100, 350]
