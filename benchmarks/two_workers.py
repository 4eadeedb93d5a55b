"""Two worker processes on one device, compared with this process byte by byte: part of `benchmarks.gpu_check`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from adaptinf.config import ExtractionConfig, ModelConfig
from adaptinf.data import Block, Message, Sample
from adaptinf.demo.stream import BASE_PATH
from adaptinf.executors import Executor, LocalExecutor
from adaptinf.executors.devices import VISIBLE_GPUS
from adaptinf.executors.processes import ProcessesExecutor
from adaptinf.extraction import extract
from adaptinf.models.recipe import LearnerRecipe

NUM_SAMPLES = 96
"""Short conversations, in about a dozen batches."""
BATCH_TOKENS = 512
"""Small, so that both workers get some."""


def same_bytes() -> str:
    """Return whether two processes that share a device give the bytes of one process, in words."""
    visible = {VISIBLE_GPUS: os.environ.get(VISIBLE_GPUS, "0")} if torch.cuda.is_available() else {}
    found = []
    for executor in (LocalExecutor(), ProcessesExecutor([visible] * 2)):
        try:
            found.append(_measured(executor))
        finally:
            executor.close()
    wrong = [name for name, content in found[0].items() if found[1][name] != content]
    return f"failed: {', '.join(wrong)} differ" if wrong else "the bytes of one process"


def _measured(executor: Executor) -> dict[str, bytes]:
    recipe = LearnerRecipe(model=ModelConfig(path=str(BASE_PATH), dtype="float32"), new_adapter_seed=0)
    config = ExtractionConfig(dim=256, batch_tokens=BATCH_TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        extract(_samples(), recipe, config, out=Path(folder) / "features", executor=executor)
        files = sorted((Path(folder) / "features").iterdir())
        return {path.name: path.read_bytes() for path in files if path.suffix != ".json"}


def _samples() -> list[Sample]:
    return [_sample(number) for number in range(NUM_SAMPLES)]


def _sample(number: int) -> Sample:
    question = [Block(type="text", text="How many? " + "dot " * (1 + number % 20))]
    answer = [Block(type="text", text=f"There are {number}.")]
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Sample(id=f"two/{number:04d}", source="two", messages=messages)
