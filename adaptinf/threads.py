"""All cores of this machine for work on arrays, with the same result for any number of them.

NumPy and BLAS let other threads run while they compute, so threads suffice and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spread(Protocol):
    """How a function is mapped over pieces of work: the built-in `map`, or `in_threads`."""

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item], /) -> Iterable[Result]:
        """Return one result an item, in the order of the items."""
        ...


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], /) -> Iterable[Result]:
    """Return one result an item, in the order of the items, computed in as many threads as BLAS would use.

    So whoever bounds BLAS (`OMP_NUM_THREADS`, `threadpool_limits`) bounds this too. BLAS itself has one thread
    meanwhile, also where there is one item only: the number of its threads may change the last bits of a product.
    """
    num_threads = min(num_blas_threads(), len(items))
    with threadpool_limits(limits=1, user_api="blas"):
        if num_threads <= 1:
            return list(map(function, items))
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(function, items))


def num_blas_threads() -> int:
    """Return how many threads BLAS may use; 1 where there is no BLAS that can be asked."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
