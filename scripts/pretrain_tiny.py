"""Pre-train the tiny vision-language model that ships with the demo.

    python scripts/pretrain_tiny.py --out adaptinf/demo/base

First the vision tower alone learns to name what lies under each patch (`adaptinf.demo.patches`), then all weights of a
LLaVA (CLIP tower, projector, Llama) learn the generic mix (`adaptinf.demo.generic`). The result is an ordinary Hugging
Face folder in float16.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn import functional
from transformers import GenerationConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from adaptinf.demo.blueprint import (
    CHAT_TEMPLATE,
    END_ID,
    IMAGE,
    IMAGE_TOKENS,
    PAD_ID,
    TOWER_WIDTH,
    build_config,
    build_processor,
)
from adaptinf.demo.generic import Lesson, lessons
from adaptinf.demo.patches import HEADS, UNLABELLED, labelled_pictures
from adaptinf.demo.phrasing import CLOSERS, OPENERS
from adaptinf.demo.skills import SKILLS

Drawn = TypeVar("Drawn")

POSITION_STD = 0.3
"""CLIP's own 0.02 drowns under patches this large: for thousands of steps the tower would not know where a patch is."""
IGNORED = -100
PART = 16
"""Lessons per forward pass; a batch has several, of like length, so that little is padded."""
CHUNK = 2000
"""Items drawn by one task of the process pool; the chunk's number is its seed, so any pool gives the same mix."""


class Patches(NamedTuple):
    """Labelled pictures as arrays."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Encoded(NamedTuple):
    """Lessons as token ids, answer masks and pictures."""

    ids: list[list[int]]
    masks: list[list[int]]
    pictures: list[tuple[NDArray[np.uint8], ...]]


class Job(NamedTuple):
    """What each training process is handed."""

    num_entries: int
    patches: Patches
    lessons: Encoded
    rendezvous: str
    args: argparse.Namespace


class Tower(nn.Module):
    """The vision tower with one linear head per question about a patch; the heads are thrown away."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.Sequential(nn.LayerNorm(TOWER_WIDTH), nn.Linear(TOWER_WIDTH, sum(HEADS.values())))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of all heads for every patch."""
        features: torch.Tensor = self.tower(pixel_values=pixels).last_hidden_state
        logits: torch.Tensor = self.heads(features[:, 1:])
        return logits


def build_model(num_entries: int) -> LlavaForConditionalGeneration:
    """Return the model with random weights."""
    model = LlavaForConditionalGeneration(build_config(num_entries))
    nn.init.normal_(model.model.vision_tower.embeddings.position_embedding.weight, std=POSITION_STD)
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=64, pad_token_id=PAD_ID, eos_token_id=END_ID
    )
    return model


def draw(kind: Callable[..., list[Drawn]], count: int, args: argparse.Namespace) -> list[Drawn]:
    """Return items drawn in chunks by several processes."""
    seeds = [args.seed * 100_000 + chunk for chunk in range(-(-count // CHUNK))]
    with ProcessPoolExecutor(args.workers) as pool:
        return [item for chunk in pool.map(partial(_chunk, kind), seeds) for item in chunk]


def _chunk(kind: Callable[..., list[Drawn]], seed: int) -> list[Drawn]:
    return kind(CHUNK, seed=seed)


def corpus(drawn: Sequence[Lesson]) -> Iterator[str]:
    """Yield the texts that the tokenizer learns its entries from: the generic mix and the stream's wording."""
    for lesson in drawn:
        yield from (text for turn in lesson.turns for text in turn)
    rng = np.random.default_rng(0)
    for skill in SKILLS.values():
        turns = [turn for _ in range(60) for turn in skill.draw(rng, "train").turns]
        yield from (turn.answer for turn in turns)
        for turn in turns:
            paraphrase = skill.paraphrases[rng.integers(len(skill.paraphrases))].format(**turn.slots)
            yield OPENERS[rng.integers(len(OPENERS))] + paraphrase + CLOSERS[rng.integers(len(CLOSERS))]


def encode(drawn: Sequence[Lesson], tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Encoded:
    """Return token ids and answer masks through the chat template, tags before or after the first question."""
    rng = np.random.default_rng(seed)
    conversations = []
    for lesson in drawn:
        tags = IMAGE * IMAGE_TOKENS * len(lesson.pictures)
        messages = []
        for position, (question, answer) in enumerate(lesson.turns):
            if position == 0 and tags:
                gap = "\n" if rng.random() < 0.5 else ""
                question = tags + gap + question if rng.random() < 0.7 else question + gap + tags
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        conversations.append(messages)
    out = tokenizer.apply_chat_template(
        conversations, chat_template=CHAT_TEMPLATE, return_dict=True, return_assistant_tokens_mask=True
    )
    return Encoded(out["input_ids"], out["assistant_masks"], [lesson.pictures for lesson in drawn])


def pixels_of(pictures: Sequence[NDArray[np.uint8]], light: np.random.Generator) -> torch.Tensor:
    """Return pixel values, lit a little differently each time."""
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    factors = torch.from_numpy(light.uniform(0.9, 1.1, len(pictures)).astype(np.float32))
    return (pixels * factors[:, None, None, None]).clamp(0, 255) / 127.5 - 1


def batch_of(data: Encoded, rows: NDArray[np.int64], light: np.random.Generator) -> dict[str, torch.Tensor]:
    """Return padded tensors for some rows."""
    width = max(len(data.ids[row]) for row in rows)
    ids = torch.full((len(rows), width), PAD_ID)
    labels = torch.full((len(rows), width), IGNORED)
    for i, row in enumerate(rows):
        tokens, mask = torch.tensor(data.ids[row]), torch.tensor(data.masks[row])
        ids[i, : len(tokens)] = tokens
        labels[i, : len(tokens)] = torch.where(mask == 1, tokens, IGNORED)
    batch = {"input_ids": ids, "labels": labels, "attention_mask": (ids != PAD_ID).long()}
    pictures = [picture for row in rows for picture in data.pictures[row]]
    return batch | ({"pixel_values": pixels_of(pictures, light)} if pictures else {})


def tower_loss(module: nn.Module, rows: NDArray[np.int64], *, data: Patches, light: np.random.Generator) -> float:
    """Return the loss summed over pictures and heads, and leave its gradient."""
    logits = module(pixels_of([data.pictures[row] for row in rows], light))
    labels = torch.from_numpy(data.labels[rows])
    loss = torch.zeros(())
    for head, scores in enumerate(logits.split(list(HEADS.values()), dim=-1)):
        known = labels[:, head] != UNLABELLED
        each = functional.cross_entropy(
            scores.transpose(1, 2), labels[:, head], ignore_index=UNLABELLED, reduction="none"
        )
        loss = loss + (each.sum(dim=1) / known.sum(dim=1).clamp(min=1)).sum()
    torch.autograd.backward(loss)
    return loss.item()


def language_loss(module: nn.Module, rows: NDArray[np.int64], *, data: Encoded, light: np.random.Generator) -> float:
    """Return the sum over lessons of the mean loss of an answer token, and leave its gradient."""
    total = 0.0
    by_length = rows[np.argsort([len(data.ids[row]) for row in rows], kind="stable")]
    for part in np.array_split(by_length, max(1, len(by_length) // PART)):
        batch = batch_of(data, part, light)
        labels = batch.pop("labels")[:, 1:]
        logits = module(**batch).logits[:, :-1]
        each = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        loss = (each.sum(dim=1) / (labels != IGNORED).sum(dim=1)).sum()
        torch.autograd.backward(loss)
        total += loss.item()
    return total


def sum_over_processes(module: nn.Module, loss: float, batch_size: int) -> float:
    """Turn gradients and loss into means over the whole batch, in one message."""
    parameters = list(module.parameters())
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor([loss])]) / batch_size
    distributed.all_reduce(message)
    parts = torch.split(message[:-1], [gradient.numel() for gradient in gradients])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return float(message[-1])


def fit(
    module: nn.Module,
    loss_of: Callable[[nn.Module, NDArray[np.int64]], float],
    *,
    num_items: int,
    steps: int,
    args: argparse.Namespace,
) -> None:
    """Run AdamW with 3 % warm-up and linear decay."""
    rank, workers = distributed.get_rank(), distributed.get_world_size()
    optimizer = torch.optim.AdamW(module.parameters(), lr=args.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.03 * steps), 1 - step / steps)
    )
    rng = np.random.default_rng(args.seed)
    order = np.concatenate([rng.permutation(num_items) for _ in range(1 + steps * args.batch_size // num_items)])
    started, running = time.perf_counter(), 0.0
    for step in range(steps):
        rows = order[step * args.batch_size : (step + 1) * args.batch_size][rank::workers]
        running += sum_over_processes(module, loss_of(module, rows), args.batch_size)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % 100 == 0 and rank == 0:
            rate = (step + 1) * args.batch_size / (time.perf_counter() - started)
            print(f"step {step + 1}/{steps}  loss {running / 100:.4f}  {rate:.0f} samples/s", flush=True)
            running = 0.0


def train(rank: int, job: Job) -> None:
    """Train the tower, then all weights, and save the model.

    Each of `args.workers` processes takes a share of every batch: with matrices this small, two processes are faster
    than two threads.
    """
    args = job.args
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    distributed.init_process_group("gloo", init_method=job.rendezvous, rank=rank, world_size=args.workers)
    model = build_model(job.num_entries)
    light = np.random.default_rng([args.seed, rank])
    look = partial(tower_loss, data=job.patches, light=light)
    fit(Tower(model.model.vision_tower), look, num_items=len(job.patches.pictures), steps=args.tower_steps, args=args)
    speak = partial(language_loss, data=job.lessons, light=light)
    fit(model, speak, num_items=len(job.lessons.ids), steps=args.steps, args=args)
    distributed.destroy_process_group()
    if rank == 0:
        model.to(torch.float16).save_pretrained(args.out)


def run(job: Job) -> None:
    """Train in as many processes as there are workers; stop if one of them fails."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=train, args=(rank, job)) for rank in range(job.args.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a training process failed; its traceback is above")


def main() -> None:
    """Draw the mix, train the tokenizer, train the model, save both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--tower-steps", type=int, default=2200, help="optimiser steps of the tower alone, before")
    parser.add_argument("--steps", type=int, default=1900, help="optimiser steps of all weights")
    parser.add_argument("--pictures", type=int, default=40_000, help="different labelled pictures drawn")
    parser.add_argument("--lessons", type=int, default=50_000, help="different conversations drawn")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    started = time.perf_counter()
    drawn = draw(lessons, args.lessons, args)
    labelled = draw(labelled_pictures, args.pictures, args)
    print(f"drew {len(drawn)} lessons, {len(labelled)} pictures: {time.perf_counter() - started:.0f} s", flush=True)
    processor = build_processor(list(corpus(drawn[:10_000])))
    data = encode(drawn, processor.tokenizer, seed=args.seed)
    processor.save_pretrained(args.out)

    patches = Patches(np.stack([one.picture for one in labelled]), np.stack([one.labels_HP for one in labelled]))
    with tempfile.TemporaryDirectory() as folder:
        job = Job(len(processor.tokenizer), patches, data, f"file://{folder}/rendezvous", args)
        run(job)
    print(f"saved {args.out} after {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
