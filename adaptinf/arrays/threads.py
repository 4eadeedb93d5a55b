"""All cores of this machine for work on arrays, with the same result for any number of them.

NumPy and BLAS let other threads run while they compute, so threads suffice and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol, TypeVar

import numpy as np  # noqa: F401  its BLAS has to be loaded before it can be asked
from threadpoolctl import ThreadpoolController

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
    with _blas().limit(limits=1):
        if num_threads <= 1:
            return list(map(function, items))
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(function, items))


def num_blas_threads() -> int:
    """Return how many threads NumPy's BLAS may use; 1 where there is none that can be asked."""
    return max((library["num_threads"] for library in _blas().info()), default=1)


@cache
def _blas() -> ThreadpoolController:
    """Return what was loaded with NumPy; looking for libraries takes longer than a small product."""
    return ThreadpoolController().select(user_api="blas")
