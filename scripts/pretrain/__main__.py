"""Pre-train the tiny vision-language model of the demo.

    python -m scripts.pretrain --tower TOWER --out adaptinf/demo/base

First the vision tower alone learns to classify the content of each patch (`scripts.pretrain.patches`). Then, with the
tower frozen and its features computed once, projector and language model of a LLaVA (CLIP tower, Llama) learn the
generic mix (`scripts.pretrain.generic`). The result is an ordinary Hugging Face folder in float16.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn import functional
from transformers import GenerationConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from adaptinf.demo.phrasing import CLOSERS, OPENERS
from adaptinf.demo.skills import SKILLS
from scripts.pretrain.blueprint import (
    CHAT_TEMPLATE,
    END_ID,
    IMAGE,
    IMAGE_ID,
    IMAGE_TOKENS,
    PAD_ID,
    TOWER_WIDTH,
    VOCABULARY,
    build_config,
    build_processor,
)
from scripts.pretrain.generic import first_lessons, lessons
from scripts.pretrain.generic.lesson import Lesson
from scripts.pretrain.patches import HEADS, UNLABELLED, labelled_images

Drawn = TypeVar("Drawn")
Data = TypeVar("Data")

POSITION_STD = 0.3
"""CLIP's own 0.02 is too small for patches this large: for thousands of steps the tower would ignore positions."""
IGNORED = -100
PART = 4
"""Lessons per forward pass; a batch is split into parts of similar length, so that little is padded."""
TOWER_BATCH = 64
TOWER_RATE = 1.5e-3
CHUNK = 2000
"""Items drawn per task of the process pool; the seed is the chunk's number, so any pool gives the same mix."""


class Patches(NamedTuple):
    """Labelled images as arrays."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Encoded(NamedTuple):
    """Lessons as token ids and answer masks, with the tower's features of their images (images x patches x width)."""

    ids: list[list[int]]
    masks: list[list[int]]
    features: NDArray[np.float16]
    images: list[range]
    """Rows of `features` for each lesson."""


class Tower(nn.Module):
    """The vision tower with one linear head per question about a patch; the heads are discarded afterwards."""

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
    """Yield the texts that the tokenizer is trained on: the generic mix and the stream's wording."""
    for lesson in drawn:
        yield from (text for turn in lesson.turns for text in turn)
    rng = np.random.default_rng(0)
    for skill in SKILLS.values():
        exchanges = [exchange for _ in range(60) for exchange in skill.draw(rng, "train").exchanges]
        yield from (exchange.answer for exchange in exchanges)
        for exchange in exchanges:
            paraphrase = skill.paraphrases[rng.integers(len(skill.paraphrases))].format(**exchange.slots)
            yield OPENERS[rng.integers(len(OPENERS))] + paraphrase + CLOSERS[rng.integers(len(CLOSERS))]


def encode(
    drawn: Sequence[Lesson], tokenizer: PreTrainedTokenizerFast, features: NDArray[np.float16], *, seed: int
) -> Encoded:
    """Return token ids and answer masks by the chat template, with tags before or after the first question."""
    rng = np.random.default_rng(seed)
    conversations = []
    for lesson in drawn:
        tags = IMAGE * IMAGE_TOKENS * len(lesson.images)
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
    ends = np.cumsum([len(lesson.images) for lesson in drawn]).tolist()
    rows = [range(end - len(lesson.images), end) for end, lesson in zip(ends, drawn, strict=True)]
    return Encoded(out["input_ids"], out["assistant_masks"], features, rows)


@torch.no_grad()
def features_of(tower: nn.Module, drawn: Sequence[Lesson], *, seed: int) -> NDArray[np.float16]:
    """Return the tower's features of every image of the lessons, in order."""
    light = np.random.default_rng([seed, 2])
    images = [image for lesson in drawn for image in lesson.images]
    parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    found = [tower(pixel_values=pixels_of(part, light)).last_hidden_state[:, 1:].half().numpy() for part in parts]
    return np.concatenate(found)


def pixels_of(images: Sequence[NDArray[np.uint8]], light: np.random.Generator) -> torch.Tensor:
    """Return pixel values with slightly varied brightness."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    factors = torch.from_numpy(light.uniform(0.9, 1.1, len(images)).astype(np.float32))
    return (pixels * factors[:, None, None, None]).clamp(0, 255) / 127.5 - 1


def batch_of(data: Encoded, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return padded token ids, labels, and features of the images of some rows."""
    width = max(len(data.ids[row]) for row in rows)
    ids = torch.full((len(rows), width), PAD_ID)
    labels = torch.full((len(rows), width), IGNORED)
    for i, row in enumerate(rows):
        tokens, mask = torch.tensor(data.ids[row]), torch.tensor(data.masks[row])
        ids[i, : len(tokens)] = tokens
        labels[i, : len(tokens)] = torch.where(mask == 1, tokens, IGNORED)
    images = [image for row in rows for image in data.images[row]]
    return ids, labels, torch.from_numpy(data.features[images]).float()


def tower_loss(module: nn.Module, rows: NDArray[np.int64], *, data: Patches, light: np.random.Generator) -> float:
    """Return the loss summed over images and heads, and accumulate its gradient."""
    logits = module(pixels_of([data.images[row] for row in rows], light))
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


def language_loss(module: Any, rows: NDArray[np.int64], *, data: Encoded) -> float:
    """Return the sum over lessons of the mean loss per answer token, and accumulate its gradient.

    Padding is on the right and attention causal, so no attention mask is needed; logits are computed for answers only.
    `module` is a LLaVA, whose parts have no types.
    """
    total = 0.0
    by_length = rows[np.argsort([len(data.ids[row]) for row in rows], kind="stable")]
    for part in np.array_split(by_length, max(1, len(by_length) // PART)):
        ids, labels, features = batch_of(data, part)
        embeddings = module.model.get_input_embeddings()(ids)
        projected = module.model.multi_modal_projector(features).flatten(0, 1)
        embeddings = embeddings.masked_scatter((ids == IMAGE_ID)[:, :, None], projected)
        hidden = module.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, :-1]
        answers = labels[:, 1:] != IGNORED
        each = functional.cross_entropy(module.lm_head(hidden[answers]), labels[:, 1:][answers], reduction="none")
        weights = (1 / answers.sum(dim=1, keepdim=True)).expand_as(answers)[answers]
        loss = (each * weights).sum()
        torch.autograd.backward(loss)
        total += loss.item()
    return total


def trained(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def sum_over_processes(module: nn.Module, loss: float, batch_size: int) -> float:
    """Replace gradients and loss by their means over the whole batch, with one message between processes."""
    parameters = trained(module)
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
    order: NDArray[np.int64],
    *,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Run AdamW with 3 % warm-up and linear decay once over the items in the given order."""
    rank, workers = distributed.get_rank(), distributed.get_world_size()
    steps = len(order) // batch_size
    optimizer = torch.optim.AdamW(trained(module), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.03 * steps), 1 - step / steps)
    )
    started, running = time.perf_counter(), 0.0
    for step in range(steps):
        rows = order[step * batch_size : (step + 1) * batch_size][rank::workers]
        running += sum_over_processes(module, loss_of(module, rows), batch_size)
        torch.nn.utils.clip_grad_norm_(trained(module), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if (step + 1) % 100 == 0 and rank == 0:
            rate = (step + 1) * batch_size / (time.perf_counter() - started)
            print(f"step {step + 1}/{steps}  loss {running / 100:.4f}  {rate:.0f} samples/s", flush=True)
            running = 0.0


def repeated(rng: np.random.Generator, items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` of the items in random order, each about equally often."""
    return np.concatenate([rng.permutation(items) for _ in range(1 + count // len(items))])[:count]


def train_tower(data: Patches, args: argparse.Namespace) -> None:
    """Train the vision tower and save its weights."""
    tower = Tower(build_model(VOCABULARY).model.vision_tower)
    light = np.random.default_rng([args.seed, distributed.get_rank()])
    order = repeated(np.random.default_rng(args.seed), np.arange(len(data.images)), args.tower_steps * TOWER_BATCH)
    look = partial(tower_loss, data=data, light=light)
    fit(tower, look, order, batch_size=TOWER_BATCH, learning_rate=TOWER_RATE)
    if distributed.get_rank() == 0:
        torch.save(tower.tower.state_dict(), args.tower)


def train_language(data: Encoded, args: argparse.Namespace) -> None:
    """Train projector and language model on top of the trained tower, and save the whole model."""
    model = build_model(VOCABULARY)
    model.model.vision_tower.load_state_dict(torch.load(args.tower))
    model.model.vision_tower.requires_grad_(False)
    rng, mixed = np.random.default_rng(args.seed), np.arange(args.first, len(data.ids))
    order = [rng.permutation(args.first), repeated(rng, mixed, args.steps * args.batch_size - args.first)]
    speak = partial(language_loss, data=data)
    fit(model, speak, np.concatenate(order), batch_size=args.batch_size, learning_rate=args.learning_rate)
    if distributed.get_rank() == 0:
        model.to(torch.float16).save_pretrained(args.out)


def work(
    rank: int,
    training: Callable[[Data, argparse.Namespace], None],
    data: Data,
    rendezvous: str,
    args: argparse.Namespace,
) -> None:
    """Run one training process of one thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=args.workers)
    training(data, args)
    distributed.destroy_process_group()


def run(training: Callable[[Data, argparse.Namespace], None], data: Data, args: argparse.Namespace) -> None:
    """Train in as many processes as there are workers, each with a share of every batch; stop if one of them fails.

    For matrices this small, two processes are faster than two threads.
    """
    # By default, glibc returns large tensors to the kernel at once, and clearing pages again takes a third of the time.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        shared = (training, data, f"file://{folder}/rendezvous", args)
        processes = [context.Process(target=work, args=(rank, *shared)) for rank in range(args.workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a training process failed; its traceback is above")


def main() -> None:
    """Train the tower, draw the mix, train the tokenizer and the language model, save everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--tower", type=Path, required=True, help="the tower's weights; trained first if the file does not exist"
    )
    parser.add_argument("--tower-steps", type=int, default=2600, help="optimiser steps of the tower")
    parser.add_argument("--steps", type=int, default=1800, help="optimiser steps of the language model")
    parser.add_argument("--pictures", type=int, default=30_000, help="number of different labelled images")
    parser.add_argument("--lessons", type=int, default=24_000, help="number of different conversations")
    parser.add_argument(
        "--first", type=int, default=6_000, help="number of conversations about one thing, which come first"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="conversations per step")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    started = time.perf_counter()
    if not args.tower.exists():
        labelled = draw(labelled_images, args.pictures, args)
        patches = Patches(np.stack([one.image for one in labelled]), np.stack([one.labels_HP for one in labelled]))
        run(train_tower, patches, args)
        print(f"saved {args.tower} after {time.perf_counter() - started:.0f} s", flush=True)

    drawn = draw(first_lessons, args.first, args)[: args.first] + draw(lessons, args.lessons, args)
    processor = build_processor(list(corpus(drawn[-10_000:])))
    processor.save_pretrained(args.out)
    tower = build_model(VOCABULARY).model.vision_tower
    tower.load_state_dict(torch.load(args.tower))
    data = encode(drawn, processor.tokenizer, features_of(tower, drawn, seed=args.seed), seed=args.seed)
    print(f"drew and encoded {len(drawn)} conversations: {time.perf_counter() - started:.0f} s", flush=True)
    run(train_language, data, args)
    print(f"saved {args.out} after {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
