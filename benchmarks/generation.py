"""Test items answered per second, against plain `generate` on batches in the order of the file.

python -m benchmarks.generation            # about five minutes
python -m benchmarks.generation --quick    # seconds; shows that the script runs, not how fast the code is
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from adaptinf.config import SkillConfig
from adaptinf.data import Block, Message, Sample
from adaptinf.evaluation.generation import generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.images import Unopened
from adaptinf.models.chat import encode_prompts, placed, traits_of
from adaptinf.models.greedy import greedy_settings
from adaptinf.models.loading import Learner
from adaptinf.models.mixing import mixing_of
from adaptinf.models.quiet import silence_libraries
from benchmarks.reporting import Report, arguments_of, significant
from benchmarks.shapes import SHAPES, Shape, learner, samples

Result = TypeVar("Result")
BATCH = 8
"""Items in a batch of plain `generate`, as most scripts for evaluation have it."""
NUM_ENDS = 12
"""Tokens that end an answer: models of random weights would hardly ever write a single one."""
REPEATS = 3
"""The fastest of so many runs counts."""
NUM_ITEMS = {"tiny": 96, "cpu-medium-small-head": 24}
"""Shape -> items of each case."""
INSTRUCTION = "look at what is shown, think about it in three steps, and then answer with one word: "
"""What all items of a case begin with."""
CASES = (
    ("tiny", False, 48, ""),
    ("tiny", True, 48, ""),
    ("tiny", False, 48, INSTRUCTION),
    ("tiny", False, 2, ""),
    ("tiny", True, 2, ""),
    ("cpu-medium-small-head", False, 48, ""),
    ("cpu-medium-small-head", True, 48, ""),
    ("cpu-medium-small-head", True, 2, ""),
)
"""Shape, whether items have an image, max_new_tokens, instruction."""


def main() -> None:
    options = arguments_of(__doc__)
    silence_libraries()
    warnings.simplefilter("ignore")
    report = Report("generation", "Answering test items", packages=("torch", "transformers"))
    report.text(
        "`plain` is transformers' `generate` with the same greedy settings and the same prompts, in batches of "
        f"{BATCH} items in the order of the file, padded on the left. `plain, wide` has batches of 32. `ours` is what "
        "an evaluation runs, with the planning and the trial before it. Weights are random, float32; "
        f"{NUM_ENDS} tokens end an answer, so that lengths differ (`tokens`: 10th, 50th and 90th percentile). "
        f"The fastest of {REPEATS} runs each.\n"
    )
    rows = []
    for name, has_vision, limit, instruction in CASES[:2] if options.quick else CASES:
        shape = replace(SHAPES[name], num_samples=6 if options.quick else NUM_ITEMS[name])
        rows.append({"shape": name, **_row(shape, has_vision, limit, instruction, 1 if options.quick else REPEATS)})
    report.table(rows)
    mixed = [float(str(row["times faster"])) for row in rows if row["max_new_tokens"] != 2]
    report.text(f"Mixed lengths: {min(mixed):.2f} to {max(mixed):.2f} times faster than plain.\n")
    report.write(options.out)


def _row(shape: Shape, has_vision: bool, limit: int, instruction: str, repeats: int) -> dict[str, object]:
    model = learner(shape, has_vision=has_vision, adapted=False)
    mixing_of(model)
    items = [_instructed(item, instruction) for item in samples(shape, has_vision=has_vision)]
    model.model.generation_config.eos_token_id = _ends(model, items)
    config = SkillConfig(skill="s", path="x.json", max_new_tokens=limit)
    test = SkillTest(config=config, items=tuple(items), rejected=())
    plain, right = _timed(lambda: _plain(model, items, limit, BATCH), repeats)
    wide, _ = _timed(lambda: _plain(model, items, limit, 32), repeats)
    ours, found = _timed(lambda: generate(model, [test]), repeats)
    same = sum(one == answer.text for one, answer in zip(right, found.answers, strict=True))
    lengths = [len(model.tokenizer(text)["input_ids"]) for text in right]
    return {
        "images": "yes" if has_vision else "no",
        "max_new_tokens": limit,
        "instruction": "yes" if instruction else "no",
        "tokens": "/".join(f"{value:.0f}" for value in np.percentile(lengths, [10, 50, 90])),
        "plain, items/s": significant(len(items) / plain),
        "plain, wide": significant(len(items) / wide),
        "ours": significant(len(items) / ours),
        "times faster": f"{plain / ours:.2f}",
        "than wide": f"{wide / ours:.2f}",
        "same answers": f"{same}/{len(items)}",
        "decoding": found.info["decoding"],
    }


def _ends(model: Learner, items: Sequence[Sample]) -> list[int]:
    """Return tokens that end an answer: some that no item has in its text, which would be refused."""
    texts = [str(block["text"] or "") for item in items for turn in item.messages for block in turn["content"]]
    used = {token for ids in model.tokenizer(texts)["input_ids"] for token in ids}
    return [token for token in range(3, len(model.tokenizer)) if token not in used][:NUM_ENDS]


def _instructed(item: Sample, instruction: str) -> Sample:
    """Return an item whose question begins with an instruction."""
    first = item.messages[0]
    blocks = [
        Block(type=block["type"], text=instruction + str(block["text"]) if block["type"] == "text" else None)
        for block in first["content"]
    ]
    return replace(item, messages=(Message(role=first["role"], content=blocks), *item.messages[1:]))


def _timed(work: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """Return the seconds of the fastest run, and its result."""
    seconds, results = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        results.append(work())
        seconds.append(time.perf_counter() - started)
    return min(seconds), results[-1]


@torch.inference_mode()
def _plain(model: Learner, items: Sequence[Sample], limit: int, batch: int) -> list[str]:
    """Return the answers of plain `generate`, batch after batch."""
    ends = traits_of(model).ends
    texts: list[str] = []
    with greedy_settings(model.model):
        for start in range(0, len(items), batch):
            own = items[start : start + batch]
            inputs = placed(encode_prompts(model, own, [Unopened(item.stored_images) for item in own]), model)
            output = model.model.generate(
                **inputs,
                max_new_tokens=limit,
                do_sample=False,
                pad_token_id=model.tokenizer.pad_token_id,
                eos_token_id=sorted(ends),
            )
            for row in output[:, inputs["input_ids"].shape[1] :].tolist():
                stop = next((place for place, token in enumerate(row) if token in ends), len(row))
                texts.append(model.tokenizer.decode(row[:stop], skip_special_tokens=True).strip())
    return texts


if __name__ == "__main__":
    main()
