"""Runs in worker processes: as many at once as there are cores, with their progress shown in one place."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty
from typing import Any

from adaptinf.compare.planning import Planned
from adaptinf.compare.remote import Relay, Remote
from adaptinf.progress import Progress
from adaptinf.runs import Run
from adaptinf.runs.cache import StageCache

POLL_SECONDS = 0.2
"""How often the parent looks for messages, and a worker for its parent."""
THREADS_PER_RUN = 1
"""The other cores have runs of their own."""


def run_planned(
    planned: Sequence[Planned],
    *,
    progress: Progress,
    num_steps: int | None = None,
    num_workers: int | None = None,
    cache: StageCache | None = None,
    on_finished: Callable[[], None] | None = None,
) -> list[Run]:
    """Run everything that is planned, going on where an earlier call stopped, and return the runs.

    Args:
        planned: the runs.
        progress: where to report; workers send their bars here.
        num_steps: steps of the stream to take; None: all.
        num_workers: processes at once, one thread each; None: one a core, and one in all where they share a GPU.
        cache: where runs share what they have in common; None: each makes its own.
        on_finished: called whenever a run has finished while others go on.

    Raises:
        ConfigError: a run folder with other settings.
    """
    runs = [Run.create(one.folder, one.config) for one in planned]
    unfinished = []
    for one, run in zip(planned, runs, strict=True):
        length = len(one.config.stream)
        steps = length if num_steps is None else min(num_steps, length)
        if run.num_finished < steps:
            unfinished.append((one, steps))
    if unfinished:
        _run_unfinished(unfinished, progress, num_workers, cache, on_finished)
    return runs


def _run_unfinished(
    unfinished: Sequence[tuple[Planned, int]],
    progress: Progress,
    num_workers: int | None,
    cache: StageCache | None,
    on_finished: Callable[[], None] | None,
) -> None:
    workers = min(num_workers or _fitting_workers(unfinished), len(unfinished))
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(_end_with_parent, (os.getpid(),))
    others = set(multiprocessing.active_children())
    with manager, ProcessPoolExecutor(workers, context, _begin_worker, (os.getpid(),)) as pool:
        queue = manager.Queue()
        with _ctrl_c_later():
            futures = [pool.submit(_run_one, one.folder, steps, queue, one.label, cache) for one, steps in unfinished]
            processes = set(multiprocessing.active_children()) - others
        relay = Relay(progress)
        try:
            _relay_until_done(futures, queue, relay, on_finished)
        except BaseException:
            # Whoever stops, or is told of a failure, must not wait for hours of other runs: a run may be killed at any
            # moment and goes on from there. Cancelling would not do, as the pool has handed out the next ones already.
            for process in processes:
                process.kill()
            raise
        finally:
            relay.close()


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Keep Ctrl-C for the end of the block, and for good from processes begun in it: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fitting_workers(unfinished: Sequence[tuple[Planned, int]]) -> int:
    """Return one run a core; only one where a model works on an accelerator, whose memory may not hold two."""
    import torch

    devices = {one.config.model.device for one, _ in unfinished}
    has_gpu = torch.cuda.is_available()
    on_cpu = all(name == "cpu" or (name == "auto" and not has_gpu) for name in devices)
    return os.cpu_count() or 1 if on_cpu else 1


def _relay_until_done(
    futures: Sequence[Future[None]], queue: Any, relay: Relay, on_finished: Callable[[], None] | None
) -> None:
    """Show the workers' messages until all are done; the first failure is raised at once."""
    num_done = 0
    while True:
        _relay_for_a_moment(queue, relay)
        done = [future for future in futures if future.done()]
        for future in done:
            future.result()
        if len(done) == len(futures):
            _relay_for_a_moment(queue, relay)  # their last words
            return
        if len(done) > num_done and on_finished is not None:
            on_finished()
        num_done = len(done)


def _relay_for_a_moment(queue: Any, relay: Relay) -> None:
    """Show what comes within POLL_SECONDS; where messages never pause, runs that end are seen all the same."""
    end = time.monotonic() + POLL_SECONDS
    while (left := end - time.monotonic()) > 0:
        try:
            relay.show(queue.get(timeout=left))
        except Empty:
            return


def _begin_worker(parent: int) -> None:
    """Prepare a worker: one thread, as the other cores have workers of their own, and an end when its parent ends."""
    import torch
    from threadpoolctl import threadpool_limits
    from transformers.utils import logging

    torch.set_num_threads(THREADS_PER_RUN)
    threadpool_limits(limits=THREADS_PER_RUN)  # NumPy's BLAS too; clustering and pruning take as many threads as it has
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    _end_with_parent(parent)


def _end_with_parent(parent: int) -> None:
    """Have this process end when its parent does, killed or not."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    # The parent was killed: nobody waits for this work, and its lock must not outlive it.
    os._exit(1)


def _run_one(folder: Path, steps: int, queue: Any, label: str, cache: StageCache | None) -> None:
    from adaptinf.pipeline import run_all

    with Run.locked(folder, progress=Remote(queue, label)) as run:
        run_all(replace(run, cache=cache), num_steps=steps)
