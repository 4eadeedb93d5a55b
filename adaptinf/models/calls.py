"""A call of a module that is given one row per token, as it can be repeated for one sample of its batch.

Shapes: B samples, S tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a module was given."""

    args: tuple[Any, ...]
    """What it was given by place."""
    kwargs: dict[str, Any]
    """What it was given by name."""
    versions: tuple[int, ...]
    """Torch's counters of the changes in place of these tensors; others later mean that they have been overwritten."""

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that it was given."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    @property
    def is_intact(self) -> bool:
        """Whether what it was given has not been overwritten since."""
        return tuple(tensor._version for tensor in self.tensors) == self.versions

    def of_sample(self, number: int, shape: tuple[int, int]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the module is given for one sample of a batch of B x S tokens."""
        args, kwargs = tree_map(lambda value: tokens_of(value, number, shape), (self.args, self.kwargs))
        return args, kwargs

    def of_first_token(self, number: int, shape: tuple[int, int]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the module is given for the first token of one sample of a batch of B x S tokens."""
        args, kwargs = tree_map(lambda value: first_token_of(value, number, shape), (self.args, self.kwargs))
        return args, kwargs


def call_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Return the record of a call, without its graph."""
    args, kwargs = tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, (args, kwargs))
    own = Call(args=args, kwargs=kwargs, versions=())
    return replace(own, versions=tuple(tensor._version for tensor in own.tensors))


def tokens_of(value: Any, number: int, shape: tuple[int, int]) -> Any:
    """Return the tokens of one sample, of a tensor of B x S x ... or B*S x ...; what is no tensor as it is."""
    if not isinstance(value, Tensor):
        return value
    if layout_of(value, shape) == "rows":
        return value[number : number + 1]
    return value[number * shape[1] : (number + 1) * shape[1]]


def first_token_of(value: Any, number: int, shape: tuple[int, int]) -> Any:
    """Return the first token of one sample, of a tensor as in `tokens_of`."""
    if not isinstance(value, Tensor):
        return value
    own = tokens_of(value, number, shape)
    return own[:, :1] if layout_of(value, shape) == "rows" else own[:1]


def layout_of(value: Tensor, shape: tuple[int, int]) -> Literal["rows", "flat"] | None:
    """Return how a tensor holds a batch of B x S tokens; None: it does not hold one number, or row, per token."""
    if value.dim() >= 2 and tuple(value.shape[:2]) == shape:
        return "rows"
    return "flat" if value.dim() >= 1 and len(value) == shape[0] * shape[1] else None


def first_tensor(output: Any) -> Tensor:
    """Return the hidden states among a module's outputs."""
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found
