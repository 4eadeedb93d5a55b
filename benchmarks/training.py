"""Seconds of an optimiser step of LoRA, against TRL's SFTTrainer on the same rows, weights and steps.

python -m benchmarks.training                  # about five minutes on two cores with nothing else on them
python -m benchmarks.training --quick          # seconds; shows that the script runs, not how fast the code is
python -m benchmarks.training --rows FOLDER    # prompts and answers of *.train.jsonl files (input, outputs) instead
python -m benchmarks.training --packing        # padded against packed rows (training.packing) in place of TRL
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback, TrainerCallback

from adaptinf.config import LoraConfig, ModelConfig, TrainingConfig
from adaptinf.data import Block, Message, Sample
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.loading import Learner
from adaptinf.models.quiet import silence_libraries
from adaptinf.progress import Bar, Silent
from adaptinf.training import train
from adaptinf.training.batches import MicroBatches, MicroBatchLoader
from adaptinf.training.order import Order
from adaptinf.training.packing_trial import packing_form
from benchmarks.reporting import RESULTS, Report, significant

BATCH, MICRO, RANK, SEED = 16, 4, 16, 3
"""Rows of an optimiser step, rows on the device at once, rank of the adapter, seed of the order of the rows."""
LEARNING_RATE = 1e-3
MAX_LENGTH = 1024
MAX_DIFFERENCE = 0.01
"""Of the losses of one step, relative: they are means over the same tokens with the same weights."""
TEMPLATE = (
    "{%- for message in messages -%}{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|end|>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>"]
SMOLLM2_135M = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "rope_theta": 1e5,
}  # fmt: skip
TINY = {
    "vocab_size": 8192, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 8192,
}  # fmt: skip


class Row(NamedTuple):
    """One question with its answer."""

    prompt: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Times:
    """What a trainer did."""

    seconds: list[float]
    """Of each optimiser step."""
    losses: list[float]
    """Mean over the answer tokens of each step."""
    tokens: int
    """Of all steps, padding included."""
    padding: int
    """Of these, padding."""


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Notes when optimiser steps end."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the beginning, too."""
        self.moments.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the end of a step."""
        self.moments.append(time.perf_counter())


def main() -> None:
    options = _options()
    silence_libraries()
    disable_progress_bars()
    warnings.simplefilter("ignore")
    num_steps = 2 if options.quick else options.steps
    rows = _rows_of(options.rows, num_steps * BATCH) if options.rows else _made_rows(num_steps * BATCH)
    packages = ("torch", "transformers", "peft", "trl")
    name, title = ("packing", "packed and padded") if options.packing else ("training", "against TRL")
    report = Report(name, f"Training with LoRA, {title}", packages=packages)
    shape = TINY if options.quick else SMOLLM2_135M
    report.text(
        f"A Llama with {shape['num_hidden_layers']} blocks, width {shape['hidden_size']} and a vocabulary of "
        f"{shape['vocab_size']:,}, random weights, float32; LoRA of rank {RANK} on all linear layers of the blocks; "
        f"{len(rows)} rows {'of ' + options.rows.name if options.rows else 'of made words'}, {BATCH} per optimiser "
        f"step, {MICRO} at once, in the same order; AdamW, learning rate {LEARNING_RATE:g}. Seconds of a step are the "
        "median; the first step, in which caches are made, is left out."
        + ("" if options.packing else " TRL checkpoints activations unless it is told not to.")
        + "\n"
    )
    words = _tokenizer(rows)
    cases: dict[str, Callable[[Learner], Times]] = {"adaptinf": lambda learner: _ours(learner, rows)}
    if options.packing:
        cases["adaptinf, packed"] = lambda learner: _ours(learner, rows, packing=True)
    else:
        cases["TRL, gradient_checkpointing=False"] = lambda learner: _trl(learner, rows, checkpointing=False)
        cases["TRL, as it comes"] = lambda learner: _trl(learner, rows, checkpointing=True)
    found = {name: case(_learner(words, shape)) for name, case in cases.items()}
    _check_losses(found)
    ours = float(np.median(found["adaptinf"].seconds[1:]))
    table = [_line(name, times, ours) for name, times in found.items()]
    report.table(table)
    report.write(options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    parser.add_argument("--rows", type=Path, help="folder of *.train.jsonl files")
    parser.add_argument("--packing", action="store_true", help="padded against packed rows, without TRL")
    parser.add_argument("--steps", type=int, default=3, help="optimiser steps of each trainer")
    return parser.parse_args()


def _made_rows(number: int) -> list[Row]:
    """Return rows of made words; lengths are spread as in collections of many tasks, answers are short."""
    rng = np.random.default_rng(0)
    lexicon = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 8))) for _ in range(2000)]
    prompts = np.clip(rng.lognormal(4.9, 0.85, number), 16, 900).astype(int)
    answers = np.clip(rng.lognormal(1.6, 1.2, number), 1, 120).astype(int)
    return [
        Row(" ".join(rng.choice(lexicon, prompt)), " ".join(rng.choice(lexicon, answer)))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def _rows_of(folder: Path, number: int) -> list[Row]:
    """Return as many rows, in turn from each file of a folder."""
    files = [path.read_text(encoding="utf-8").splitlines() for path in sorted(folder.glob("*.train.jsonl"))]
    taken = [files[turn % len(files)][turn // len(files)] for turn in range(number)]
    return [Row(row["input"], row["outputs"][0]) for row in map(json.loads, taken)]


def _tokenizer(rows: Sequence[Row]) -> Any:
    """Return a tokenizer that was trained on the rows."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8000, special_tokens=SPECIAL, initial_alphabet=alphabet)
    words.train_from_iterator((text for row in rows for text in row), trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<|end|>")
    made.chat_template = TEMPLATE
    return made


def _learner(words: Any, shape: dict[str, Any]) -> Learner:
    """Return a Llama with random weights and a new adapter, the same in each call."""
    torch.manual_seed(0)
    ends = {"pad_token_id": words.pad_token_id, "bos_token_id": None, "eos_token_id": words.eos_token_id}
    model = LlamaForCausalLM(LlamaConfig(**shape, **ends, tie_word_embeddings=True)).eval()
    config = ModelConfig(
        path="random weights", dtype="float32", device="cpu", max_length=MAX_LENGTH,
        lora=LoraConfig(rank=RANK, alpha=2 * RANK),
    )  # fmt: skip
    plain = Learner(model=model, processor=words, tokenizer=words, has_vision=False, config=config)
    return begin_adapter(plain, seed=1)


@dataclass(frozen=True)
class Stopwatch(Silent):
    """Notes when optimiser steps end, as the progress bar learns of them."""

    moments: list[float]
    """When the training began, and when each step ended."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "samples") -> Iterator[Bar]:
        """Note the beginning."""
        self.moments.append(time.perf_counter())
        yield Ticks(self.moments)


@dataclass(frozen=True)
class Ticks(Silent):
    """A bar that notes when it moves."""

    moments: list[float]
    """When it did."""

    def advance(self, count: int = 1) -> None:
        """Note the moment."""
        self.moments.append(time.perf_counter())

    def beside(self, text: str) -> None:
        """Do nothing."""

    def took(self, seconds: float) -> None:
        """Do nothing."""

    def loss(self, step: int, value: float) -> None:
        """Do nothing."""


def _ours(learner: Learner, rows: Sequence[Row], *, packing: bool = False) -> Times:
    """Train with the built-in trainer."""
    config = TrainingConfig(
        batch_size=BATCH, micro_batch_size=MICRO, learning_rate=LEARNING_RATE, lr_scheduler="constant",
        warmup_ratio=0, arguments={"logging_steps": 1}, packing=packing,
    )  # fmt: skip
    samples, watch = [_sample(number, row) for number, row in enumerate(rows)], Stopwatch([])
    with tempfile.TemporaryDirectory() as folder:
        log = train(samples, learner, config, out=Path(folder), seed=SEED, progress=watch).log
    # The same batches once more: counting them while they are trained on would take time from the training.
    order = Order(num_rows=len(rows), batch_size=BATCH, micro_batch_size=MICRO, seed=SEED)
    made, pad = MicroBatches(samples, learner, order, 1), learner.tokenizer.pad_token_id
    made.form = packing_form(learner) if packing else None
    with closing(made.ahead):
        counts = [_counts(batch["input_ids"] != pad) for batch in MicroBatchLoader(made, pin_memory=False)]
    return _times(watch.moments, [record["loss"] for record in log], counts)


def _sample(number: int, row: Row) -> Sample:
    messages = tuple(
        Message(role=role, content=[Block(type="text", text=text)])
        for role, text in (("user", row.prompt), ("assistant", row.answer))
    )
    return Sample(id=f"benchmark/{number:05d}", source="benchmark", messages=messages)


def _trl(learner: Learner, rows: Sequence[Row], *, checkpointing: bool) -> Times:
    """Train with TRL."""
    from trl import SFTConfig, SFTTrainer

    asked = [[{"role": "user", "content": row.prompt}] for row in rows]
    said = [[{"role": "assistant", "content": row.answer}] for row in rows]
    clock, counts = Clock(), list[tuple[int, int]]()
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder, per_device_train_batch_size=MICRO, gradient_accumulation_steps=BATCH // MICRO,
            gradient_checkpointing=checkpointing, bf16=False, use_cpu=True, max_length=MAX_LENGTH, seed=SEED,
            data_seed=SEED, learning_rate=LEARNING_RATE, lr_scheduler_type="constant", warmup_steps=0, logging_steps=1,
            num_train_epochs=1, save_strategy="no", report_to="none", disable_tqdm=True, completion_only_loss=True,
        )  # fmt: skip
        trainer = SFTTrainer(
            model=learner.model,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": asked, "completion": said}),
            processing_class=learner.tokenizer,
            callbacks=[clock],
        )
        real = trainer.data_collator

        def counted(features: Any) -> Any:
            batch = real(features)
            counts.append(_counts(batch["attention_mask"]))
            return batch

        trainer.data_collator = counted
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    losses = [record["loss"] for record in trainer.state.log_history if "loss" in record]
    return _times(clock.moments, losses, counts)


def _counts(mask: torch.Tensor) -> tuple[int, int]:
    return mask.numel(), int(mask.numel() - mask.sum())


def _times(moments: list[float], losses: list[float], counts: list[tuple[int, int]]) -> Times:
    totals = np.array(counts).sum(0)
    seconds = np.diff(moments).tolist()
    return Times(seconds=seconds, losses=losses, tokens=int(totals[0]), padding=int(totals[1]))


def _check_losses(found: dict[str, Times]) -> None:
    """Check that all trainers computed the same steps.

    Raises:
        SystemExit: they did not, so their seconds must not be compared.
    """
    first, *others = found.values()
    for times in others:
        if not np.allclose(first.losses, times.losses, rtol=MAX_DIFFERENCE):
            raise SystemExit(f"the losses differ: {[each.losses for each in found.values()]}")


def _line(name: str, times: Times, ours: float) -> dict[str, object]:
    seconds = float(np.median(times.seconds[1:]))
    real = (times.tokens - times.padding) / len(times.seconds)
    return {
        "trainer": name,
        "seconds per step": significant(seconds),
        "times ours": significant(seconds / ours),
        "tokens per second, without padding": f"{real / seconds:,.0f}",
        "padding": f"{100 * times.padding / times.tokens:.1f} %",
        "losses": ", ".join(f"{loss:.4f}" for loss in times.losses),
    }


if __name__ == "__main__":
    main()
