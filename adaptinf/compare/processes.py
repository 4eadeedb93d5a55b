"""Runs in worker processes: one per core at a time, with the progress of all shown by the parent process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty
from typing import Any

from adaptinf.compare.planning import PlannedRun
from adaptinf.compare.remote import Relay, Remote
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.progress import Progress
from adaptinf.runs import Run
from adaptinf.runs.cache import StageCache

POLL_SECONDS = 0.2
"""How often the parent process looks for messages."""
THREADS_PER_RUN = 1
"""Each core has a run of its own."""


def run_planned(
    planned: Sequence[PlannedRun],
    *,
    progress: Progress,
    num_steps: int | None = None,
    num_workers: int | None = None,
    cache: StageCache | None = None,
    on_finished: Callable[[], None] | None = None,
) -> list[Run]:
    """Carry out the planned runs, resuming where an earlier call stopped, and return them.

    Args:
        planned: the runs.
        progress: shows the progress of all workers.
        num_steps: number of steps of the stream to run; None: all.
        num_workers: processes at once, one thread each; None: one per core, a single one if they would share a GPU.
        cache: cache of the stages that runs share; None: each run computes its own.
        on_finished: called when a run has finished while others still work.

    Raises:
        ConfigError: a run folder exists with other settings.
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
    unfinished: Sequence[tuple[PlannedRun, int]],
    progress: Progress,
    num_workers: int | None,
    cache: StageCache | None,
    on_finished: Callable[[], None] | None,
) -> None:
    workers = min(num_workers or _default_workers(unfinished), len(unfinished))
    context = multiprocessing.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent, (os.getpid(),))
    others = set(multiprocessing.active_children())
    with manager, ProcessPoolExecutor(workers, context, _begin_worker, (os.getpid(),)) as pool:
        queue = manager.Queue()
        with _ctrl_c_delayed():
            futures = [pool.submit(_run_one, one.folder, steps, queue, one.label, cache) for one, steps in unfinished]
            processes = set(multiprocessing.active_children()) - others
        relay = Relay(progress)
        try:
            _relay_until_done(futures, queue, relay, on_finished)
        except BaseException:
            # Ctrl-C or a failure must not wait for hours of other runs: a run can be killed at any moment and resumes
            # from there. Cancelling is not enough, because the pool has already started the next runs.
            for process in processes:
                process.kill()
            raise
        finally:
            relay.close()


@contextmanager
def _ctrl_c_delayed() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block. Processes started in the block never get it: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _default_workers(unfinished: Sequence[tuple[PlannedRun, int]]) -> int:
    """Return one worker per core; a single one where models use an accelerator, whose memory may not hold two."""
    import torch

    devices = {one.config.model.device for one, _ in unfinished}
    has_gpu = torch.cuda.is_available()
    on_cpu = all(name == "cpu" or (name == "auto" and not has_gpu) for name in devices)
    return os.cpu_count() or 1 if on_cpu else 1


def _relay_until_done(
    futures: Sequence[Future[None]], queue: Any, relay: Relay, on_finished: Callable[[], None] | None
) -> None:
    """Show the messages of the workers until all of them are done; the first failure is raised at once."""
    num_done = 0
    while True:
        _relay_for_poll_seconds(queue, relay)
        done = [future for future in futures if future.done()]
        for future in done:
            future.result()
        if len(done) == len(futures):
            _relay_for_poll_seconds(queue, relay)  # the last messages
            return
        if len(done) > num_done and on_finished is not None:
            on_finished()
        num_done = len(done)


def _relay_for_poll_seconds(queue: Any, relay: Relay) -> None:
    """Show the messages of the next POLL_SECONDS; the time limit holds even if messages never pause."""
    end = time.monotonic() + POLL_SECONDS
    while (left := end - time.monotonic()) > 0:
        try:
            relay.show(queue.get(timeout=left))
        except Empty:
            return


def _begin_worker(parent: int) -> None:
    """Prepare a worker: one thread, because each core has a worker, and an end when its parent ends."""
    end_with_parent(parent)  # before the imports, which take seconds

    import torch
    from threadpoolctl import threadpool_limits

    from adaptinf.models.quiet import silence_libraries

    torch.set_num_threads(THREADS_PER_RUN)
    threadpool_limits(limits=THREADS_PER_RUN)  # NumPy's BLAS as well, which sets the threads of clustering and pruning
    silence_libraries()


def _run_one(folder: Path, steps: int, queue: Any, label: str, cache: StageCache | None) -> None:
    from adaptinf.pipeline import run_all
    from adaptinf.runs.beating import beating
    from adaptinf.runs.model_trial import tried

    with Run.locked(folder, progress=Remote(queue, label)) as opened, beating(opened) as run:
        with run.plugins():
            tried(run)
        # Of the runs of a comparison few are looked at; `adaptinf view` makes the map of those that are.
        run_all(replace(run, cache=cache, makes_maps=False), num_steps=steps)
