"""Work in threads: results in order, as many threads as BLAS has, one thread for BLAS inside."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_limits

from adaptinf.arrays import threads
from adaptinf.arrays.threads import in_threads, num_blas_threads


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(num_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_blas_threads", lambda: num_threads)
    assert list(in_threads(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    assert list(in_threads(str, [])) == []


def test_whoever_bounds_blas_bounds_the_threads() -> None:
    with threadpool_limits(limits=1, user_api="blas"):
        assert num_blas_threads() == 1
        assert set(in_threads(lambda _: threading.get_ident(), range(8))) == {threading.get_ident()}


def test_blas_has_one_thread_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    before = num_blas_threads()
    ask = num_blas_threads
    monkeypatch.setattr(threads, "num_blas_threads", lambda: 2)
    assert set(in_threads(lambda _: ask(), range(4))) == {1}
    assert ask() == before


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "num_blas_threads", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 / x, [1, 0])
