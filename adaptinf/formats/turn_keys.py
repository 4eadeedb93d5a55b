"""Keys of a turn beside its role and text: whether it is learnt, and those that nothing reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from adaptinf.formats.columns import is_missing
from adaptinf.formats.reasons import BadRow, shown

LOSS_FLAGS = ("weight", "loss", "loss_scale", "loss_weight", "loss_mask", "train", "training")
"""Keys that switch the loss of a turn off: `weight` (OpenAI), `loss` and `loss_scale` (ms-swift), `loss_weight`
(LLaMA-Factory), `train` or `training` (axolotl)."""
UNCLEAR = ("mask", "masked", "train_detail", "training_detail")
"""Keys that change what is learnt in a way that no format reads, or that has two meanings."""
CALLS = ("tool_calls", "function_call")
"""Keys that hold a part of the answer that no format reads."""
NO_CALLS = "calls of tools are not supported yet"
"""End of the reason of a row that has one."""

_YES = frozenset({"true", "1", "1.0", "yes"})
_NO = frozenset({"false", "0", "0.0", "no"})


def is_learnt(turn: Mapping[str, Any], number: int) -> bool:
    """Return whether the flags of a turn of the assistant let it be learnt; without flags it is.

    Raises:
        BadRow: a flag is neither on nor off, or two flags contradict each other.
    """
    flags = {key: _switch(key, turn[key], number) for key in LOSS_FLAGS if not is_missing(turn.get(key))}
    if len(set(flags.values())) > 1:
        raise BadRow(f"{' and '.join(flags)} of turn {number} contradict each other")
    return all(flags.values())


def _switch(key: str, value: Any, number: int) -> bool:
    word = str(value).strip().casefold() if isinstance(value, str | bool | int | float) else ""
    if word in _YES or word in _NO:
        return word in _YES
    raise BadRow(f"{key} of turn {number} is {shown(value)}: only 0 and 1 (false and true) are supported")


def unread_keys(turn: Mapping[str, Any], number: int, used: Collection[str], role: str) -> list[str]:
    """Return the keys of a turn that have a value and that nothing reads.

    A loss flag counts as read on turns of the assistant, and where it switches off what is not learnt anyway.

    Raises:
        BadRow: the turn holds a call of a tool, which is a part of what should be learnt.
    """
    for key in CALLS:
        if not is_missing(turn.get(key)):
            raise BadRow(f"turn {number} has `{key}`: {NO_CALLS}")
    for key in UNCLEAR if role == "assistant" else ():
        if not is_missing(turn.get(key)):
            raise BadRow(f"turn {number} has `{key}`, which is not read: write loss: true or false instead")
    left = [key for key, value in turn.items() if key not in used and not is_missing(value)]
    return [key for key in left if key not in LOSS_FLAGS or (role != "assistant" and is_learnt(turn, number))]
