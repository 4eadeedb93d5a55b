"""Decoding prompts one token at a time, in the way that their model allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple

from torch import Tensor

from adaptinf.models.decoding.joining import joined
from adaptinf.models.decoding.prefix import MIN_SHARED, read_sharing, shared_length
from adaptinf.models.decoding.rows import Rows, continued, kept_rows, read_prompts
from adaptinf.models.decoding.ways import Way

Watch = Callable[[Sequence[int], Tensor], None]
"""Called with the numbers of the rows and their logits (B x V) before each token is chosen."""


class Prompted(NamedTuple):
    """Prompts as a left-padded batch."""

    numbers: tuple[int, ...]
    """Numbers of the rows that are in it."""
    inputs: dict[str, Tensor] | None
    """What the model's `generate` takes; None: no row can be asked."""


class Written(NamedTuple):
    """What a model has written to one prompt."""

    number: int
    """Number of the prompt."""
    tokens: list[int]
    """The answer, without the token that ends it."""
    is_ended: bool
    """Whether an end token came; otherwise the limit."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Prompts to answer, and how."""

    model: Any
    """The model (Any: of any architecture)."""
    prompts: Callable[[Sequence[int]], Prompted]
    """Gives some prompts as a batch; called when they are read."""
    limits: dict[int, int]
    """Number of each prompt -> largest number of tokens of its answer."""
    ends: frozenset[int]
    """Tokens that end an answer."""
    pad: int | None
    """Id of the padding token."""
    width: int
    """Rows at once."""
    way: Way
    """What the model's cache allows."""
    families: dict[int, int] = field(default_factory=dict)
    """Number of a prompt -> a number that is the same for those which begin alike; they are read together."""
    images: frozenset[int] = frozenset()
    """Ids of tokens that stand for images."""
    min_shared: int = MIN_SHARED
    """Tokens in common that are worth being read once."""


def decode(task: Task, numbers: Sequence[int], watch: Watch | None = None) -> Iterator[Written]:
    """Yield the greedy answer to each prompt, as they end; prompts that cannot be asked are left out.

    Args:
        task: the prompts.
        numbers: which of them, in the order in which they begin.
        watch: sees the logits; only with a way whose rows leave.
    """
    if not task.way.leaves:
        yield from _decode_whole(task, numbers)
        return
    waiting, written = deque(numbers), dict[int, list[int]]()
    rows: Rows | None = None
    while waiting or rows is not None:
        if rows is None or (task.way.joins and waiting and len(rows) <= task.width // 2):
            rows = _refilled(task, rows, waiting)
        if rows is None:
            continue
        if watch is not None:
            watch(rows.numbers, rows.logits)
        chosen = rows.logits.argmax(-1)
        staying = []
        for place, (number, token) in enumerate(zip(rows.numbers, chosen.tolist(), strict=True)):
            answer = written.setdefault(number, [])
            if token in task.ends:
                yield Written(number, written.pop(number), True)
                continue
            answer.append(token)
            if len(answer) == task.limits[number]:
                yield Written(number, written.pop(number), False)
            else:
                staying.append(place)
        if not staying:
            rows = None
            continue
        if len(staying) < len(rows):
            rows, chosen = kept_rows(rows, staying), chosen[staying]
        rows = continued(rows, chosen)


def _refilled(task: Task, rows: Rows | None, waiting: deque[int]) -> Rows | None:
    """Return rows with as many waiting prompts as there are free places; None where none of them can be asked."""
    while waiting and (free := task.width - (0 if rows is None else len(rows))) > 0:
        taken = [waiting.popleft()]
        family = task.families.get(taken[0])
        while waiting and len(taken) < free and task.families.get(waiting[0]) == family:
            taken.append(waiting.popleft())
        prompted = task.prompts(taken)
        if prompted.inputs is not None:
            new = _read(task, prompted.numbers, prompted.inputs)
            rows = new if rows is None else joined(rows, new)
        if rows is not None and not task.way.joins:
            break
    return rows


def _read(task: Task, numbers: Sequence[int], inputs: dict[str, Tensor]) -> Rows:
    limit = max(task.limits[number] for number in numbers)
    if task.way.shares and len(numbers) > 1:
        length = shared_length(inputs, task.images)
        if length >= task.min_shared:
            return read_sharing(task.model, inputs, numbers, length=length, limit=limit, pad=task.pad)
    return read_prompts(task.model, inputs, numbers, limit=limit, pad=task.pad)


def _decode_whole(task: Task, numbers: Sequence[int]) -> Iterator[Written]:
    """Yield what plain `generate` writes to batches, or to one prompt after another."""
    width = task.width if task.way.together else 1
    for start in range(0, len(numbers), width):
        prompted = task.prompts(numbers[start : start + width])
        if prompted.inputs is None:
            continue
        limit = max(task.limits[number] for number in prompted.numbers)
        output = plain(task, prompted.inputs, limit)
        for number, row in zip(prompted.numbers, output.tolist(), strict=True):
            own = row[: task.limits[number]]
            answer = list(takewhile(lambda token: token not in task.ends, own))
            yield Written(number, answer, len(answer) < len(own))


def plain(task: Task, inputs: dict[str, Tensor], limit: int) -> Tensor:
    """Return what `generate` writes to a batch, padded on the right: B x at most `limit`."""
    output: Tensor = task.model.generate(
        **inputs,
        max_new_tokens=limit,
        do_sample=False,
        pad_token_id=task.pad,
        eos_token_id=sorted(task.ends) or None,
    )
    return output[:, inputs["input_ids"].shape[1] :]
