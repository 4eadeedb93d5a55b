"""Section `training`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from adaptinf.config.schema.section import Duration, Section

ENCODED_AHEAD = "batches are encoded ahead of the model in a thread"
ONE_SUM = "ranks add up their gradients once per optimiser step, without the wrapper of torch"
UNUSED_ARGUMENTS: dict[str, str] = {
    **dict.fromkeys(
        ("dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_persistent_workers")
        + ("dataloader_multiprocessing_context", "dataloader_in_order"),
        ENCODED_AHEAD,
    ),
    **dict.fromkeys(
        ("ddp_backend", "ddp_timeout", "ddp_find_unused_parameters", "ddp_bucket_cap_mb")
        + ("ddp_broadcast_buffers", "ddp_static_graph"),
        ONE_SUM,
    ),
    "use_cache": "training keeps no cache of keys and values",
}  # fmt: skip
"""Fields of TrainingArguments that change nothing here -> why; runs of earlier versions may have them."""


class TrainingConfig(Section):
    """Training on the selected samples."""

    tune: Literal["lora", "full"] = "lora"
    """lora: an adapter on the language model; full: all weights of language model and projector (very small models)."""
    adapter: Literal["continue", "merge"] = "continue"
    """continue: one adapter is trained over all steps; merge: each step merges its adapter and starts a new one."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the selected samples."""
    learning_rate: float = Field(default=2.0e-4, gt=0)
    """Peak learning rate."""
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    """Share of the optimiser steps before the peak; the first of w such steps has 1 / (w + 1) of the peak."""
    lr_scheduler: str = "cosine"
    """How the learning rate falls after the peak: cosine, linear, constant_with_warmup, ..., as transformers has it."""
    optimizer: str = "adamw_torch_fused"
    """Optimiser, by the names that TrainingArguments has for `optim`: adamw_torch, adafactor, adamw_bnb_8bit, ..."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of all weights but biases and norms."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm; 0: they are not clipped."""
    batch_size: int = Field(default=128, ge=1)
    """Samples per optimiser step."""
    micro_batch_size: int = Field(default=8, ge=1)
    """Samples on the device at once, at most: the largest divisor of batch_size up to here; the rest is accumulated."""
    devices: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Devices that train together; auto: all GPUs (of this machine, with executor: ray of the cluster), on CPUs 1."""
    fsdp: bool | dict[str, Any] = False
    """Shard a model that does not fit on one GPU over the devices: true, or the fields of the Trainer's fsdp_config."""
    deepspeed: str | dict[str, Any] | None = None
    """The same by DeepSpeed: its configuration, or the file with it; see docs/training.md."""
    packing: bool = False
    """Put rows of text one after another, with less padding; a model whose rows would mix is refused after a trial."""
    gradient_checkpointing: bool = False
    """Recompute activations: about a third more time for much less memory."""
    report_to: list[str] = []
    """Loggers of the Trainer: tensorboard, wandb, trackio, ... (metrics.jsonl is always written)."""
    # Any: what each field takes is between transformers and its user; a trial before the run checks them.
    arguments: dict[str, Any] = {}
    """Any other field of transformers' TrainingArguments, e.g. {adam_beta2: 0.95}; those with a setting are refused."""
    command: str | None = None
    """Your own trainer in place of the built-in one, with placeholders such as {data}; see docs/trainers.md."""
    format: str = "sharegpt"
    """Format of the data file that the command reads (`adaptinf list`)."""
    timeout: Duration = None
    """Longest time of one run of the command, such as 90m or 12h; null: as long as it takes."""

    # Any: whatever the file has; pydantic goes on with what is returned.
    @field_validator("fsdp", mode="before")
    @classmethod
    def _without_fields_is_on(cls, value: Any) -> Any:
        return True if value == {} else value

    @model_validator(mode="after")
    def _sharded_in_one_way(self) -> TrainingConfig:
        if self.fsdp and self.deepspeed:
            raise ValueError("fsdp and deepspeed do not go together: both shard the model; set one of them")
        for name in ("fsdp", "deepspeed"):
            if getattr(self, name) and self.devices == 1:
                raise ValueError(f"{name} shards the model over several devices, and devices: 1; set devices: auto")
        return self
