"""Ranks on a Ray cluster, started and watched by Ray Train's `TorchTrainer`.

Its driver is a process of its own, so that its end, whatever ends it, is the end of all ranks.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adaptinf.config import RayConfig
from adaptinf.distributed.agents import THREADS, module_path, run_agent, write_ended
from adaptinf.distributed.job import Job
from adaptinf.distributed.rank import FOREVER, backend, take_part
from adaptinf.errors import ConfigError
from adaptinf.executors.lifetime import end_with_parent
from adaptinf.executors.ray_cluster import join, ray_library
from adaptinf.words import one_line, shortened

SHOWN = 160
"""Characters of what Ray says of a rank that died."""


def cluster_resources(settings: RayConfig) -> Mapping[str, float]:
    """Return what the cluster has: CPU, GPU and others, counted.

    Raises:
        ConfigError: Ray or its part for training is not installed, or no cluster answers.
    """
    ray = ray_library()
    join(settings.address)
    try:
        import ray.train.torch  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"training.devices with executor: ray needs Ray Train ({error}); install it: pip install 'adaptinf[ray]'"
        ) from None
    found: Mapping[str, float] = ray.cluster_resources()
    return found


@dataclass(frozen=True, kw_only=True)
class RayTrain:
    """How ranks are started on a Ray cluster."""

    number: int
    """How many ranks."""
    device: str
    """`model.device`."""
    timeout: float | None
    """Seconds that ranks wait for each other at most; None: any time."""
    settings: RayConfig
    """The cluster."""

    def run(self, job: Job, on_wait: Callable[[], None]) -> Mapping[int, str]:
        """Run the ranks to their end, and return how those ended that failed; see `Launcher`."""
        uses_gpus = self.device != "cpu" and cluster_resources(self.settings).get("GPU", 0) > 0
        plan = Plan(
            address=ray_library().get_runtime_context().gcs_address,
            number=self.number,
            device="cuda" if uses_gpus else "cpu",
            cpus=self.settings.cpus_per_worker,
            seconds=self.timeout or FOREVER.total_seconds(),
        )
        return run_agent("adaptinf.distributed.ray_train", [json.dumps(asdict(plan))], job, on_wait)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the driver of Ray Train is told."""

    address: str
    """Of the cluster."""
    number: int
    """How many ranks."""
    device: str
    """cuda: each rank has a GPU; or cpu."""
    cpus: float
    """CPUs that Ray counts for a rank."""
    seconds: float
    """That ranks wait for each other at most."""


def watch(folder: str, plan: Plan, parent: int) -> None:
    """Run Ray Train in this process until all ranks have ended, and write down which ones failed."""
    end_with_parent(parent)
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"  # the default since 2.51
    import ray

    variables = {"PYTHONPATH": module_path(), THREADS: os.environ.get(THREADS, str(max(1, int(plan.cpus))))}
    ray.init(plan.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": variables})
    from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
    from ray.train.torch import TorchConfig, TorchTrainer

    job, uses_gpus = Job(Path(folder)), plan.device == "cuda"
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"folder": folder},
        torch_config=TorchConfig(backend=backend(plan.device), timeout_s=int(plan.seconds)),
        scaling_config=ScalingConfig(
            num_workers=plan.number,
            use_gpu=uses_gpus,
            resources_per_worker={"CPU": plan.cpus, **({"GPU": 1.0} if uses_gpus else {})},
        ),
        run_config=RunConfig(name="ranks", storage_path=str(job.folder / "ray"), failure_config=FailureConfig()),
    )
    ended: dict[int, str] = {}
    try:
        trainer.fit()
    except WorkerGroupError as error:
        ended = {rank: _how(failure) for rank, failure in error.worker_failures.items()}
    write_ended(job, ended)


def _rank(given: dict[str, Any]) -> None:
    """Be one rank, in a worker of Ray Train."""
    from ray import train

    take_part(Job(Path(given["folder"])), train.get_context().get_world_rank())


def _how(failure: Exception) -> str:
    """Return how a rank ended, as the end of a sentence."""
    return f"died ({shortened(one_line(failure), SHOWN)})"


if __name__ == "__main__":
    from adaptinf.distributed import ray_train  # by its name, under which the ranks import it

    ray_train.watch(sys.argv[1], ray_train.Plan(**json.loads(sys.argv[2])), int(sys.argv[3]))
