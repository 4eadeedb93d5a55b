"""`executor: ray`: actors of a Ray cluster, one call under way in each.

Of Ray only what the work needs is used: actors that are never restarted by Ray itself, so that `dispatch` counts how
often a shard was tried, and nothing large in its object store, as workers read and write the shared run folder.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptinf.config import RayConfig, RunConfig
from adaptinf.errors import ConfigError
from adaptinf.executors.dispatch import Dispatcher, Message, end_kept, kept_open
from adaptinf.executors.interface import Tool, Work, Workers
from adaptinf.executors.packing import packed
from adaptinf.executors.worker import opened
from adaptinf.executors.worker_process import free_gpu_memory, portable
from adaptinf.registry import executor
from adaptinf.words import counted, one_line

CONNECT_SECONDS = 5.0
"""How long an address may take to accept a connection."""
START_SECONDS = 120.0
"""How long the nodes of a cluster may take for a first small task."""


class _Actor:
    """What runs in a worker: it holds opened work, and calls functions on shards."""

    def __init__(self) -> None:
        self._work = ExitStack()
        self._tool: Any = None

    def open(self, parcel: bytes) -> Message:
        return self._answer("ready", lambda: self._enter(parcel))

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> Message:
        return self._answer("done", lambda: function(self._tool, shard))

    def close(self) -> Message:
        return self._answer("done", self._leave)

    def _enter(self, parcel: bytes) -> None:
        self._tool = self._work.enter_context(opened(parcel))

    def _leave(self) -> None:
        self._tool = None
        self._work.close()
        free_gpu_memory()

    @staticmethod
    def _answer(kind: Any, act: Callable[[], Any]) -> Message:
        try:
            value = act()
        except Exception as error:  # of any kind: it is raised again in the process that waits
            return Message("failed", portable(error))
        return Message(kind, value if kind == "done" else None)


@dataclass(eq=False)
class RayWorker:
    """An actor, and the call that it works on."""

    # Any: Ray makes the class of an actor's handle while it runs.
    actor: Any
    """The handle."""
    pending: Any = None
    """The reference to the result of the call under way."""

    def begin(self, parcel: bytes) -> None:
        """Have it open packed work."""
        self.pending = self.actor.open.remote(parcel)

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> None:
        """Have it call a function on a shard."""
        self.pending = self.actor.call.remote(function, shard)

    def finish(self) -> None:
        """Have it close its work; what closing raises there is raised here."""
        ray = _ray()
        message = ray.get(self.actor.close.remote())
        if message.kind == "failed":
            raise message.value

    def end(self) -> None:
        """Kill it."""
        ray = _ray()
        ray.kill(self.actor)


@dataclass(frozen=True)
class RayWorkers:
    """How actors are started and heard."""

    options: dict[str, Any]
    """CPUs, GPUs and variables of each."""

    def start(self, number: int) -> RayWorker:
        """Start an actor; Ray chooses its node."""
        make = _ray().remote
        return RayWorker(make(**self.options)(_Actor).remote())

    def hear(self, workers: Sequence[RayWorker], seconds: float | None) -> list[tuple[RayWorker, Message]]:
        """Return the answers that are there, once there is one or the time is over."""
        ray = _ray()
        by_call = {worker.pending: worker for worker in workers}
        ready, _ = ray.wait(list(by_call), num_returns=1, timeout=seconds)
        return [(by_call[one], _result(one)) for one in ready]


def _result(pending: Any) -> Message:
    ray = _ray()
    try:
        message: Message = ray.get(pending)
    except ray.exceptions.RayActorError as error:  # also when the node is lost, or Ray ended it for lack of memory
        return Message("died", f"died ({one_line(error)})")
    return message


@dataclass(eq=False)
class RayExecutor:
    """Actors on a cluster, which is joined or started with the first work."""

    settings: RayConfig
    """Address, and what each worker needs."""
    workers: int | str
    """How many; auto: one per GPU, on CPUs 1."""
    timeout: float | None
    """Seconds after which a silent worker is ended and replaced; None: any time."""
    note: Callable[[str], None] = lambda text: None
    """Shows a line of text."""
    is_in_process = False
    _kept: list[RayWorker] = field(default_factory=list)

    def prepare(self, folder: Path, note: Callable[[str], None]) -> None:
        """Join the cluster and check that each of its nodes sees the run folder.

        Raises:
            ConfigError: no cluster answers, it has too little for the workers, or a node does not see the folder.
        """
        self.note = note
        _join(self.settings.address)
        self._num_workers()
        _check_nodes(folder)

    @contextmanager
    def open(self, work: Work[Tool]) -> Iterator[Workers[Tool]]:
        """Yield the workers, which open the work while the block already asks.

        Raises:
            ConfigError: no cluster answers, or it has too little for the workers; or the work cannot be sent.
        """
        _join(self.settings.address)
        number, kind = self._num_workers(), RayWorkers(self._options())
        if not self._kept:
            self._say_what_is_busy(number)
        dispatcher = Dispatcher(kind, packed(work, "ray"), number, self.timeout, note=self.note)
        with kept_open(dispatcher, self._kept) as workers:
            yield workers

    def close(self) -> None:
        """End the actors; the connection to the cluster stays until this process ends, as making it takes seconds."""
        end_kept(self._kept)

    def _gpus(self) -> float:
        ray = _ray()
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        asked = self.settings.gpus_per_worker
        return float(has_gpus) if asked == "auto" else float(asked)

    def _num_workers(self) -> int:
        """Return the number of workers.

        Raises:
            ConfigError: the cluster has too few CPUs or GPUs for them.
        """
        ray = _ray()
        there, each = ray.cluster_resources(), {"CPU": float(self.settings.cpus_per_worker), "GPU": self._gpus()}
        if self.workers == "auto":
            number = max(1, int(there.get("GPU", 0) // each["GPU"])) if each["GPU"] else 1
        else:
            number = int(self.workers)
        for resource, needed in each.items():
            if number * needed > there.get(resource, 0):
                raise ConfigError(
                    f"{counted(number, 'worker')} with {needed:g} {resource} each need {number * needed:g}, but the "
                    f"Ray cluster has {there.get(resource, 0):g}; set fewer workers, or less under ray"
                )
        return number

    def _say_what_is_busy(self, number: int) -> None:
        """Say so where workers will have to wait until others leave the cluster, as Ray itself waits without a word."""
        free, each = _ray().available_resources(), {"CPU": float(self.settings.cpus_per_worker), "GPU": self._gpus()}
        for resource, needed in each.items():
            if number * needed > free.get(resource, 0):
                self.note(
                    f"warning: {counted(number, 'worker')} need {number * needed:g} {resource} of the Ray cluster, and "
                    f"{free.get(resource, 0):g} are free; they wait for the others"
                )

    def _options(self) -> dict[str, Any]:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        return {
            "num_cpus": self.settings.cpus_per_worker,
            "num_gpus": self._gpus(),
            "max_restarts": 0,
            "max_task_retries": 0,
            # Ray would set the threads of numerical libraries to the CPUs of the worker; last bits depend on them.
            "runtime_env": {
                "env_vars": {
                    "PYTHONPATH": paths,
                    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
                }
            },
        }


# Any: of what Ray offers only a part has types.
def _ray() -> Any:
    """Return the library, which only this executor needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ConfigError("executor: ray needs Ray; install it: pip install 'adaptinf[ray]'") from None


def _join(address: str | None) -> None:
    """Connect this process to the cluster at an address, or to a new one on this machine; once per process.

    Raises:
        ConfigError: Ray is not installed, or none answers.
    """
    ray = _ray()
    if ray.is_initialized():
        return
    _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"ray.address={address}: no Ray cluster answers ({one_line(error)}); {_WAY_OUT}") from error


_WAY_OUT = "start one with `ray start --head` and give its address, or leave ray.address out for one on this machine"


def _check_answers(address: str | None) -> None:
    """Refuse an address host:port where nothing listens; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"ray.address={address}: nothing answers there ({error}); {_WAY_OUT}") from error


def _check_nodes(folder: Path) -> None:
    """Check that every node of the cluster sees the same run folder.

    Raises:
        ConfigError: a node does not, or does not answer.
    """
    ray = _ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = folder / f".seen-by-ray-{uuid.uuid4().hex}"
    mark.touch()
    try:
        asked = {}
        for node in (node for node in ray.nodes() if node["Alive"]):
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = ray.remote(num_cpus=0, scheduling_strategy=strategy, max_retries=0)(os.path.exists)
            asked[look.remote(str(mark.resolve()))] = node["NodeManagerHostname"]
        ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=START_SECONDS)
        blind = [asked[one] for one in ready if not ray.get(one)]
        if silent or blind:
            which = f"{blind[0]} does not see it" if blind else f"{asked[silent[0]]} does not answer"
            raise ConfigError(
                f"{folder} must lie on a file system that every node of the Ray cluster sees under this path, "
                f"but {which}"
            )
    finally:
        mark.unlink(missing_ok=True)


@executor("ray")
def ray_executor(settings: RunConfig) -> RayExecutor:
    """Return the executor with actors on a Ray cluster."""
    return RayExecutor(settings.ray, settings.workers, settings.worker_timeout_seconds)
