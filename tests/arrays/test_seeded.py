"""Seeded hashes: uniform, independent of order, independent between seeds and purposes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adaptinf.arrays.seeded import checked_ids, derive_seed, hash_ids, id_order, number_keys, seeded_keys
from adaptinf.errors import DataError
from adaptinf.storage.tables import text_array

id_texts = st.builds("{}/{}".format, st.sampled_from(["a", "b" * 130]), st.integers(0, 99))
IDS = [f"toy/{i}" for i in range(4000)]


def test_a_hash_belongs_to_the_id_and_not_to_its_row() -> None:
    assert (hash_ids(IDS)[::-1] == hash_ids(IDS[::-1])).all()
    assert len(set(hash_ids(IDS).tolist())) == len(IDS)


def test_the_hash_of_an_id_never_changes_between_versions() -> None:
    # A changed hash would make an old run impossible to replay.
    assert hash_ids(["llava665k/000123"]).tolist() == [965768438239795981]
    assert derive_seed(0, "selection", 3) == 5989381607198899768


def test_ids_that_are_not_ascii_have_hashes_too() -> None:
    assert len(set(hash_ids(["é/1", "e/1", "数据/1", ""]).tolist())) == 4


def test_seeds_differ_by_run_purpose_and_step() -> None:
    seeds = {derive_seed(s, stage, t) for s in range(3) for stage in ("select", "prune") for t in range(3)}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_keys_are_uniform() -> None:
    counts = np.bincount((seeded_keys(hash_ids(IDS), 0) >> np.uint64(60)).astype(int), minlength=16)
    chi_square = ((counts - 250) ** 2 / 250).sum()
    assert chi_square < 37.7  # 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize(("first", "second"), [((0,), (1,)), ((0, "draw"), (0, "cut")), ((0, 1), (0, 2))])
def test_two_draws_overlap_as_chance_says(first: tuple[int | str, ...], second: tuple[int | str, ...]) -> None:
    hashes, num_rows, budget = hash_ids(IDS), len(IDS), 1000
    draws = [set(np.argsort(seeded_keys(hashes, *names))[:budget].tolist()) for names in (first, second)]
    expected = budget**2 / num_rows
    deviation = (expected * (1 - budget / num_rows) ** 2) ** 0.5
    assert abs(len(draws[0] & draws[1]) - expected) < 4 * deviation


def test_numbers_have_a_seeded_order() -> None:
    orders = {tuple(np.argsort(number_keys(5, seed)).tolist()) for seed in range(200)}
    assert len(orders) > 80  # of 120 orders


def test_id_order_sorts_and_refuses_an_id_that_occurs_twice() -> None:
    assert id_order(text_array(["b", "a", "c"])).tolist() == [1, 0, 2]
    assert id_order(text_array([])).tolist() == []
    with pytest.raises(DataError, match="'' occurs twice"):
        id_order(text_array(["", ""]))
    with pytest.raises(DataError, match="'b' occurs twice"):
        id_order(text_array(["b", "a", "b"]))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | id_texts, unique=True, max_size=30))
@example(["a\x00", "a", "", "\x00"])
@example(["\uffff", "\U00010000"])
@example(["b" * 200, "a" * 200, "a"])
def test_id_order_is_that_of_pythons_texts(ids: list[str]) -> None:
    order = id_order(text_array(ids))
    assert order.dtype == np.int64 and [ids[row] for row in order] == sorted(ids)


def test_ids_may_come_in_any_form() -> None:
    ids = ["a/1", "é/2", "数据/3"]
    forms = [ids, tuple(ids), np.array(ids), text_array(ids), np.array([np.str_(i) for i in ids], dtype=object)]
    for form in [*forms, pa.array(ids), pa.chunked_array([ids[:1], ids[1:]])]:
        found = checked_ids(form, 3, "vectors")
        assert found.tolist() == ids and {type(name) for name in found} == {str}
    assert checked_ids(np.array([7, 8]), 2, "vectors").tolist() == ["7", "8"]


def test_there_is_one_id_a_row() -> None:
    assert checked_ids([7, 8], 2, "vectors").tolist() == ["7", "8"]  # type: ignore[list-item]
    with pytest.raises(DataError, match="1 ids for 2 rows of vectors"):
        checked_ids(["a"], 2, "vectors")
