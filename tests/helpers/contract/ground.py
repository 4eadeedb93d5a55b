"""A family's tiny model in a folder, and the conversations that it is tried on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.data import Sample
from adaptinf.models import Learner, load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.chat import IGNORED, encode, placed
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES, Family

MAX_LENGTH = 512
"""Long enough for every conversation."""
SIZES = ((64, 64), (96, 48), (48, 96), (80, 64))
"""Width and height of the pictures."""


@dataclass(frozen=True)
class Ground:
    """What the checks of one family share."""

    name: str
    """The family."""
    folder: Path
    """Where its model and the pictures are."""

    @property
    def family(self) -> Family:
        """What is known about the family."""
        return FAMILIES[self.name]

    def learner(self, **settings: Any) -> Learner:
        """Return the model, newly loaded, in float32."""
        lora = LoraConfig(rank=4, alpha=8)
        defaults = {"dtype": "float32", "device": "cpu", "max_length": MAX_LENGTH, "lora": lora}
        return load(ModelConfig(path=str(self.folder / "model"), **{**defaults, **settings}))

    def adapted(self, *, trained: bool = False, **settings: Any) -> Learner:
        """Return the model with an adapter; a trained one's B is not zero."""
        learner = begin_adapter(self.learner(**settings), seed=1)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, weight in learner.model.named_parameters():
                if trained and "lora_B" in name:
                    weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
        return learner

    @cached_property
    def samples(self) -> list[Sample]:
        """The conversations that the family's template takes."""
        return [sample for sample in self.all_samples if sample.id.split("/")[1] not in self.family.refuses]

    @cached_property
    def all_samples(self) -> list[Sample]:
        """One picture, two of other sizes, turns with a system prompt, pictures in two turns, text only, long, tiny."""
        pictures = self._pictures() if self.family.has_vision else ()
        image = ["<image>"] if pictures else []
        return [
            conversation(
                "one", say("user", *image, "What colour is it?"), say("assistant", "red"), images=pictures[:1]
            ),
            conversation(
                "turns",
                say("system", "Be brief."),
                say("user", *image, "How many dots are there?"),
                say("assistant", "There are many small dots, more than I can count."),
                say("user", "Are you sure?"),
                say("assistant", "Yes."),
                images=pictures[1:2],
            ),
            conversation(
                "two",
                say("user", *image, "and", *image, "same or different?"),
                say("assistant", "different"),
                images=pictures[2:4],
            ),
            conversation(
                "both",
                say("user", *image, "What is this?"),
                say("assistant", "A circle, a square."),
                say("user", *image, "And this?"),
                say("assistant", "Only a circle."),
                images=pictures[1:3],
            ),
            conversation("text", say("user", "Write the opposite of hot."), say("assistant", "cold")),
            conversation(
                "long", say("user", "Say: " + "blue circle, " * 6 + "thanks"), say("assistant", "blue circle, " * 6)
            ),
            conversation("tiny", say("user", "?"), say("assistant", "!")),
        ]

    def _pictures(self) -> tuple[Path, ...]:
        paths = []
        rng = np.random.default_rng(0)
        for number, (width, height) in enumerate(SIZES):
            paths.append(self.folder / f"{number}.png")
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
        return tuple(paths)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One conversation as the model takes it, alone."""

    inputs: dict[str, Any]
    """What the model is called with."""
    ids: torch.Tensor
    """S tokens."""
    labels: torch.Tensor
    """S labels."""

    @property
    def runs(self) -> list[tuple[int, int]]:
        """First token of each run of labels, and one after its last."""
        marked = [False, *(self.labels != IGNORED).tolist(), False]
        edges = [place for place in range(len(marked) - 1) if marked[place] != marked[place + 1]]
        return list(zip(edges[::2], edges[1::2], strict=True))


def row_of(learner: Learner, sample: Sample) -> Row:
    """Return one conversation as tokens with labels."""
    batch = encode(learner, [sample], [open_all(sample)])
    return Row(inputs=placed(batch.inputs, learner), ids=batch.inputs["input_ids"][0], labels=batch.labels[0])


def open_all(sample: Sample) -> list[Image.Image]:
    """Return a sample's pictures."""
    return [Image.open(path).convert("RGB") for path in sample.images]


def turns(sample: Sample, role: str) -> list[str]:
    """Return the texts of one role's turns."""
    return [
        " ".join(block["text"] or "" for block in message["content"] if block["type"] == "text")
        for message in sample.messages
        if message["role"] == role
    ]


def squeezed(text: str) -> str:
    """Return a text without its blanks, of which templates and tokenizers add and take some."""
    return re.sub(r"\s+", "", text)


def end_tokens(learner: Learner) -> set[int]:
    """Return the ids of the tokens at which generation stops."""
    configured = learner.model.generation_config.eos_token_id
    ids = configured if isinstance(configured, Sequence) else [configured, learner.tokenizer.eos_token_id]
    return {int(token) for token in ids if token is not None}
