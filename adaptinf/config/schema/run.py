"""The whole of stream.yaml, and what is of no stage."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from adaptinf.config.schema.data import DataConfig, DatasetConfig
from adaptinf.config.schema.evaluation import GateConfig, SkillConfig
from adaptinf.config.schema.model import ModelConfig
from adaptinf.config.schema.section import Duration, Section
from adaptinf.config.schema.stages import ClusteringConfig, ExtractionConfig, PruningConfig, SelectionConfig
from adaptinf.config.schema.training import TrainingConfig
from adaptinf.outside import seconds_of


class RayConfig(Section):
    """The Ray cluster of `executor: ray`."""

    address: str | None = None
    """host:port of its head node, or auto for the one that this machine belongs to; null: a new one on this machine."""
    gpus_per_worker: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """GPUs of a worker, which may share one; auto: the run's gpus_per_worker, or 0 where the cluster has none."""
    cpus_per_worker: float = Field(default=1, gt=0)
    """CPUs that Ray counts for a worker."""


class MadeBy(Section):
    """What wrote this file: version, commit and time."""

    version: str
    """Version of adaptinf."""
    git_sha: str | None = None
    """Commit of the package's working tree, if any."""
    utc_time: str
    """When it was written."""
    resolved: bool = False
    """Whether every `auto` is answered and every option of the method is listed, as in steps/config.yaml."""


class RunConfig(Section):
    """The whole of stream.yaml."""

    model: ModelConfig = ModelConfig()
    """The model that keeps learning."""
    data: DataConfig = DataConfig()
    """How datasets are read."""
    stream: list[DatasetConfig] = []
    """The datasets, in the order they arrive."""
    extraction: ExtractionConfig = ExtractionConfig()
    """What is measured on every sample."""
    clustering: ClusteringConfig = ClusteringConfig()
    """Step 1."""
    selection: SelectionConfig = SelectionConfig()
    """Step 2."""
    training: TrainingConfig = TrainingConfig()
    """Training on the selected samples."""
    pruning: PruningConfig = PruningConfig()
    """Step 3."""
    evaluation: list[SkillConfig] = []
    """Skills to test after every step."""
    evaluation_gate: GateConfig | None = None
    """What happens when a skill has lost too much, such as {max_drop: 3.0, action: stop}; null: nothing."""
    evaluation_engine: Literal["hf", "vllm"] = "hf"
    """What answers the tests: transformers, or vLLM (pip install 'adaptinf[vllm]'); fixed by the first evaluation."""
    plugins: list[str] = []
    """Python files with scorers, selectors, formats, metrics or executors of your own."""
    executor: str = "local"
    """Where extraction, clustering and evaluation are worked on (`adaptinf list`); local: in this process."""
    commands_folder: str | None = None
    """Folder that outside commands start in; null: that of this file, which a run writes here."""
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Workers of the executor, each with a model of its own; auto: one per GPU, on CPUs 1. local has no workers."""
    gpus_per_worker: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """GPUs that the model of a worker, or of this process, is spread over; auto: 1, or as ray.gpus_per_worker says."""
    worker_timeout: Duration = "30m"
    """A worker that is silent for so long (45s, 30m, 12h) is ended, another does its shard; null: never."""
    ray: RayConfig = RayConfig()
    """The cluster of `executor: ray`."""
    seed: int = Field(default=0, ge=0)
    """The same seed on the same machine gives the same run."""
    made_by: MadeBy | None = None
    """Written by the program."""

    @property
    def num_gpus(self) -> int:
        """GPUs that a model is spread over, of whatever executor."""
        if self.gpus_per_worker != "auto":
            return self.gpus_per_worker
        of_ray = self.ray.gpus_per_worker if self.executor == "ray" else "auto"
        return 1 if of_ray == "auto" else max(1, int(of_ray))

    @property
    def worker_timeout_seconds(self) -> float | None:
        """The seconds in `worker_timeout`."""
        return None if self.worker_timeout is None else seconds_of(self.worker_timeout)

    @model_validator(mode="after")
    def _quantised_weights_are_frozen(self) -> RunConfig:
        kind, training = self.model.quantization, self.training
        if kind != "none" and training.tune == "full":
            raise ValueError(f"training.tune: full changes weights that model.quantization: {kind} freezes; set one")
        if kind != "none" and training.adapter == "merge":
            raise ValueError(
                f"training.adapter: merge adds adapters to weights, and model.quantization: {kind} would round most of "
                "them away; set training.adapter: continue"
            )
        for name in ("fsdp", "deepspeed"):
            if kind != "none" and getattr(training, name):
                raise ValueError(
                    f"training.{name} shards weights that model.quantization: {kind} has packed into bits; set one of "
                    "them (quantised weights train on several devices without it)"
                )
        if self.model.lora.pissa and training.command is not None:
            raise ValueError(
                "model.lora.pissa: true is of the built-in trainer; leave training.command out, or set false"
            )
        return self

    @model_validator(mode="after")
    def _gpus_are_named_once(self) -> RunConfig:
        of_run, of_ray = self.gpus_per_worker, self.ray.gpus_per_worker
        if "auto" not in (of_run, of_ray) and of_run != of_ray:
            raise ValueError(f"gpus_per_worker: {of_run} and ray.gpus_per_worker: {of_ray:g} differ; set one of them")
        if self.num_gpus > 1 and self.extraction.vector == "zeroth_order":
            raise ValueError(
                f"extraction.vector: zeroth_order needs the model on one GPU, not on {self.num_gpus} "
                "(gpus_per_worker); choose another vector"
            )
        return self

    @model_validator(mode="after")
    def _slopes_are_of_plain_adapters(self) -> RunConfig:
        lora = self.model.lora
        kind = "experts" if lora.experts else "dora" if lora.dora else None
        if self.extraction.vector == "zeroth_order" and kind is not None:
            raise ValueError(
                f"extraction.vector: zeroth_order moves the factors of plain adapters, not those of model.lora.{kind}; "
                "choose another vector"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> RunConfig:
        for key, names in (
            ("stream: name", [dataset.name for dataset in self.stream]),
            ("evaluation: skill", [skill.skill for skill in self.evaluation]),
        ):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise ValueError(f"{key} {twice[0]!r} is used twice; names must differ")
        return self
