"""Work on arrays in threads on all cores, with the same result for any number of threads.

NumPy and BLAS release the interpreter lock while they compute, so threads suffice and no array is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol, TypeVar

import numpy as np  # noqa: F401  its BLAS must be loaded before `ThreadpoolController` looks for it
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spread(Protocol):
    """A way to map a function over pieces of work: the built-in `map`, or `in_threads`."""

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item], /) -> Iterable[Result]:
        """Return one result per item, in the order of the items."""
        ...


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], /) -> Iterable[Result]:
    """Return one result per item, in the order of the items, computed in as many threads as BLAS may use.

    So `OMP_NUM_THREADS` and `threadpool_limits`, which bound the threads of BLAS, bound this as well. BLAS itself uses
    one thread meanwhile, even for a single item: the number of its threads may change the last bits of a product.
    """
    num_threads = min(num_blas_threads(), len(items))
    with _blas().limit(limits=1):
        if num_threads <= 1:
            return list(map(function, items))
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(function, items))


def num_blas_threads() -> int:
    """Return how many threads NumPy's BLAS may use; 1 if none is found."""
    return max((library["num_threads"] for library in _blas().info()), default=1)


@cache
def _blas() -> ThreadpoolController:
    """Return the controller of NumPy's BLAS; cached, as the search takes longer than a small product."""
    return ThreadpoolController().select(user_api="blas")
