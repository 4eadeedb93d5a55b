"""`executor: ray`: actors of a Ray cluster, one call under way in each.

Of Ray only what the work needs is used: actors that are never restarted by Ray itself, so that `dispatch` counts how
often a shard was tried, and nothing large in its object store, as workers read and write the shared run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adaptinf.config import RayConfig, RunConfig
from adaptinf.errors import ConfigError, StoreError
from adaptinf.executors.devices import OWN_GPU, check_own_gpu
from adaptinf.executors.dispatch import Dispatcher, end_kept, kept_open
from adaptinf.executors.interface import Crew, ReadPaths, Tool, Work, Workers
from adaptinf.executors.packing import packed
from adaptinf.executors.ray_cluster import (
    check_nodes,
    check_resources,
    environment,
    is_this_machine_only,
    join,
    nodes,
    ray_library,
)
from adaptinf.executors.reporting import reporting
from adaptinf.executors.talking import Message
from adaptinf.executors.worker import opened
from adaptinf.executors.worker_process import failed, free_gpu_memory
from adaptinf.registry import executor
from adaptinf.words import counted, one_line


class _Actor:
    """What runs in a worker: it holds opened work, and calls functions on shards."""

    def __init__(self) -> None:
        self._work = ExitStack()
        self._tool: Any = None

    def open(self, parcel: bytes) -> Message:
        """Open packed work."""
        return self._answer("ready", lambda: self._enter(parcel))

    def call(self, function: Callable[[Any, Any], Any], shard: Any) -> Message:
        """Call a function on a shard."""
        return self._answer("done", lambda: function(self._tool, shard))

    def close(self) -> Message:
        """Close the work."""
        return self._answer("done", self._leave)

    def _enter(self, parcel: bytes) -> None:
        check_own_gpu()
        self._tool = self._work.enter_context(opened(parcel))

    def _leave(self) -> None:
        self._tool = None
        self._work.close()
        free_gpu_memory()

    @staticmethod
    def _answer(kind: Literal["ready", "done"], act: Callable[[], Any]) -> Message:
        counts: list[int] = []
        try:
            with reporting(counts.append):
                value = act()
        except Exception as error:  # of any kind: it is raised again in the process that waits
            return failed(error)
        return Message(kind, value, sum(counts))


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
        message = _result(self.actor.close.remote())
        if message.kind == "failed":
            raise message.value

    def end(self) -> None:
        """Kill it."""
        ray = ray_library()
        ray.kill(self.actor)


@dataclass(frozen=True)
class RayWorkers:
    """How actors are started and heard."""

    each: Mapping[str, float]
    """CPU and GPU -> how many of them each worker has."""

    def start(self, number: int) -> RayWorker:
        """Start an actor, which Ray itself never restarts; Ray chooses its node."""
        own_gpu = {OWN_GPU: "of Ray"} if self.each["GPU"] else {}
        variables = environment()["env_vars"] | own_gpu
        make = ray_library().remote(
            num_cpus=self.each["CPU"],
            num_gpus=self.each["GPU"],
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": variables},
        )
        return RayWorker(make(_Actor).remote())

    def hear(self, workers: Sequence[RayWorker], seconds: float | None) -> list[tuple[RayWorker, Message]]:
        """Return the answers that are there, once there is one or the time is over."""
        ray = ray_library()
        by_call = {worker.pending: worker for worker in workers}
        ready, _ = ray.wait(list(by_call), num_returns=1, timeout=seconds)
        return [(by_call[one], _result(one)) for one in ready]


def _result(pending: Any) -> Message:
    """Return the message of a call that has ended.

    Raises:
        StoreError: the cluster itself no longer answers.
    """
    ray = ray_library()
    errors = ray.exceptions
    try:
        message: Message = ray.get(pending)
    except (errors.RayActorError, errors.OutOfMemoryError, errors.WorkerCrashedError) as error:  # a lost node, too
        return Message("died", f"died ({one_line(error)})")
    except errors.RayTaskError as error:  # what the actor itself cannot answer: it cannot read the work
        return Message("failed", ConfigError(f"a worker on the Ray cluster cannot start: {one_line(error)}"))
    except errors.RayError as error:
        raise StoreError(
            f"the Ray cluster no longer answers ({one_line(error)}); what is finished is kept: once the cluster runs, "
            "run the same command again"
        ) from error
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
    files: Mapping[str, int] = field(default_factory=dict)
    """Paths that every node has to see beside the run folder -> bytes; of a folder -1."""
    note: Callable[[str], None] = lambda text: None
    """Shows a line of text."""
    num_gpus: int = 1
    """GPUs that the model of a worker is spread over, where the settings of Ray name none."""
    is_in_process = False
    _kept: list[RayWorker] = field(default_factory=list)

    def prepare(self, folder: Path, note: Callable[[str], None]) -> None:
        """Join the cluster and check that each of its nodes sees the run folder, the model and the data.

        Raises:
            ConfigError: no cluster answers, it has too little for the workers, or a node does not see one of them.
        """
        self.note = note
        join(self.settings.address)
        self._num_workers()
        check_nodes(folder, self.files)

    def crew(self) -> Crew:
        """Return the number of actors, and the types of GPUs that the nodes of the cluster have.

        Raises:
            ConfigError: no cluster answers, or it has too little for the workers.
        """
        join(self.settings.address)
        number = self._num_workers()
        return Crew(number, tuple(name for node in nodes() for name in node.gpu_types) if self._each()["GPU"] else ())

    @contextmanager
    def open(self, work: Work[Tool]) -> Iterator[Workers[Tool]]:
        """Yield the workers, which open the work while the block already asks.

        Raises:
            ConfigError: no cluster answers, or it has too little for the workers; or the work cannot be sent.
        """
        join(self.settings.address)
        number, kind = self._num_workers(), RayWorkers(self._each())
        if not self._kept:
            self._say_what_is_busy(number)
        dispatcher = Dispatcher(kind, packed(work, "ray"), number, self.timeout, note=self.note)
        with kept_open(dispatcher, self._kept) as workers:
            yield workers

    def open_readers(
        self, work: Work[Tool], number: int, on_progress: Callable[[int], None], reads: ReadPaths
    ) -> AbstractContextManager[Workers[Tool]] | None:
        """Return workers on the CPUs of all nodes; None where this machine is the cluster: it reads by itself then.

        Raises:
            ConfigError: no cluster answers, or a node does not see the files; or the work cannot be sent.
        """
        if self.settings.address is None:
            return None
        join(self.settings.address)
        if is_this_machine_only():
            return None
        check_nodes(reads.folder, reads.files)
        number = min(number, max(1, int(ray_library().cluster_resources().get("CPU", 1))))
        return self._readers(packed(work, "ray"), number, on_progress)

    @contextmanager
    def _readers(self, parcel: bytes, number: int, on_progress: Callable[[int], None]) -> Iterator[Workers[Any]]:
        # Those that hold devices would leave no CPU to the readers.
        self.close()
        kind = RayWorkers({"CPU": 1.0, "GPU": 0.0})
        dispatcher = Dispatcher(kind, parcel, number, self.timeout, on_progress, self.note)
        readers: list[RayWorker] = []
        with kept_open(dispatcher, readers) as workers:
            yield workers
        end_kept(readers)

    def close(self) -> None:
        """End the actors; the connection to the cluster stays until this process ends, as making it takes seconds."""
        end_kept(self._kept)

    def _each(self) -> dict[str, float]:
        """Return the CPUs and GPUs of each worker."""
        has_gpus = ray_library().cluster_resources().get("GPU", 0) > 0
        asked = self.settings.gpus_per_worker
        # Asked for where there is none as well, so that it is refused.
        auto = float(self.num_gpus) if has_gpus or self.num_gpus > 1 else 0.0
        return {"CPU": float(self.settings.cpus_per_worker), "GPU": auto if asked == "auto" else float(asked)}

    def _num_workers(self) -> int:
        """Return the number of workers.

        Raises:
            ConfigError: the cluster has too few CPUs or GPUs for them.
        """
        each = self._each()
        if self.workers == "auto":
            num_gpus = ray_library().cluster_resources().get("GPU", 0)
            number = max(1, int(num_gpus // each["GPU"])) if each["GPU"] else 1
        else:
            number = int(self.workers)
        check_resources(number, each)
        return number

    def _say_what_is_busy(self, number: int) -> None:
        """Say so where workers will have to wait until others leave the cluster, as Ray itself waits without a word."""
        free = ray_library().available_resources()
        for resource, needed in self._each().items():
            if number * needed > free.get(resource, 0):
                self.note(
                    f"warning: {counted(number, 'worker')} need {number * needed:g} {resource} of the Ray cluster, and "
                    f"{free.get(resource, 0):g} are free; they wait for the others"
                )


@executor("ray")
def ray_executor(settings: RunConfig) -> RayExecutor:
    """Return the executor with actors on a Ray cluster."""
    return RayExecutor(
        settings.ray, settings.workers, settings.worker_timeout_seconds, _local_paths(settings),
        num_gpus=settings.num_gpus,
    )  # fmt: skip


def _local_paths(settings: RunConfig) -> dict[str, int]:
    """Return the paths of the settings that workers open and that are there -> their bytes; of a folder -1.

    Names of the hub, and what has gone since its dataset joined the pool, are none.
    """
    model = settings.model
    named = [model.path, model.adapter, settings.extraction.model]
    named += [folder for dataset in settings.stream for folder in dataset.image_folders]
    paths = [Path(name).absolute() for name in named if name and Path(name).exists()]
    return {str(path): path.stat().st_size if path.is_file() else -1 for path in paths}
