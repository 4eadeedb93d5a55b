"""Lite-Adapt: the selection of `adapt` from a pool that is pruned to a cap (docs/pruning.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adaptinf.registry import selector
from adaptinf.selection.methods.multiway import MultiWay


@selector("lite_adapt")
@dataclass(frozen=True, kw_only=True)
class LiteAdapt(MultiWay):
    """The selection of `adapt`. They differ in `compare` only: its pool has the cap there, that of `adapt` has none."""

    capped_in_comparisons: ClassVar[bool] = True
