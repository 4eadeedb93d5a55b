"""Several methods over one stream, a run folder each, as many at once as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any

from adaptinf import store
from adaptinf.config import RunConfig
from adaptinf.progress import Progress, Relay, Remote
from adaptinf.runs import Run
from adaptinf.selection import known_options

CAPPED = frozenset({"lite_adapt"})
"""Methods that prune to the cap in a comparison; all others keep their whole pool (METHOD §5)."""
POLL_SECONDS = 0.2
"""How often the parent looks for messages, and a worker for its parent."""


def method_config(config: RunConfig, method: str, seed: int) -> RunConfig:
    """Return the configuration of one method and seed in a comparison.

    Raises:
        ConfigError: no such method.
    """
    # What the stream asks of one method is not asked of the others that do not know it.
    known = known_options(method)
    own: dict[str, Any] = {name: None for name in ("budgets", "choose", "sampling") if name not in known}
    own["options"] = {name: value for name, value in config.selection.options.items() if name in known}
    cap = (
        config.pruning.cap
        if method in CAPPED and config.pruning.cap != "none"
        else "auto"
        if method in CAPPED
        else "none"
    )
    changes = {
        "selection": config.selection.model_copy(update={"method": method, **own}),
        "pruning": config.pruning.model_copy(update={"cap": cap}),
        "seed": seed,
    }
    return config.model_copy(update=changes)


def run_methods(
    config: RunConfig,
    folders: dict[str, Path],
    *,
    seed: int,
    progress: Progress,
    num_steps: int | None = None,
    num_workers: int | None = None,
) -> list[Run]:
    """Run every method over the stream, going on where an earlier call stopped, and return the runs.

    Args:
        config: settings that all methods share.
        folders: method -> its run folder.
        seed: of all runs.
        progress: where to report; workers send their bars here.
        num_steps: steps of the stream to take; None: all.
        num_workers: processes at once, one thread each; None: one a core.

    Raises:
        ConfigError: an unknown method, or a run folder with other settings.
    """
    configs = {method: method_config(config, method, seed) for method in folders}
    runs = {method: Run.create(folder, configs[method]) for method, folder in folders.items()}
    steps = len(config.stream) if num_steps is None else min(num_steps, len(config.stream))
    unfinished = [method for method, run in runs.items() if run.num_finished < steps]
    if unfinished:
        _run_unfinished({method: folders[method] for method in unfinished}, steps, progress, num_workers)
    return list(runs.values())


def _run_unfinished(folders: dict[str, Path], steps: int, progress: Progress, num_workers: int | None) -> None:
    workers = min(num_workers or os.cpu_count() or 1, len(folders))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, context, _begin_worker, (os.getpid(),)) as pool:
        queue = manager.Queue()
        futures = [pool.submit(_run_one, folder, steps, queue, method) for method, folder in folders.items()]
        relay = Relay(progress)
        try:
            _relay_until_done(futures, queue, relay)
        finally:
            relay.close()
            for future in futures:
                future.cancel()


def _relay_until_done(futures: Sequence[Future[None]], queue: Any, relay: Relay) -> None:
    """Show the workers' messages until all are done; the first failure is raised at once."""
    while True:
        try:
            relay.show(queue.get(timeout=POLL_SECONDS))
            continue
        except Empty:
            pass
        for future in futures:
            if future.done():
                future.result()
        if all(future.done() for future in futures):
            return


def _begin_worker(parent: int) -> None:
    """Prepare a worker: one thread, as the other cores have workers of their own, and an end when its parent ends."""
    import torch
    from threadpoolctl import threadpool_limits
    from transformers.utils import logging

    torch.set_num_threads(1)
    threadpool_limits(limits=1)  # NumPy's BLAS too; clustering and pruning take as many threads as it has
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    # The parent was killed: nobody waits for this work, and its lock must not outlive it.
    os._exit(1)


def _run_one(folder: Path, steps: int, queue: Any, method: str) -> None:
    from adaptinf.pipeline import run_all

    with store.lock(folder):
        run_all(Run.open(folder, progress=Remote(queue, method)), num_steps=steps)
