"""Devices that do not exist: tensors that say they are on one, with their numbers in ordinary memory.

Operations on tensors of two devices fail as they do on GPUs, so that a missing transfer is noticed on any machine. The
kind of device is one that torch knows and that needs no driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

KIND = "lazy"
"""The kind of the devices: `lazy:0`, `lazy:1`, ..."""
MOVING = {"copy_", "_to_copy", "to"}
"""Operations between devices."""
TAKING_INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations whose indexes may be on a CPU."""


class Placed(Tensor):
    """A tensor that says it is on a device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> Placed:
        made: Placed = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]  # torch has no public name for it
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=device
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Placed({self.device}, {self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Everywhere(TorchDispatchMode):
    """Lets ordinary tensors be moved to such devices, and made there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    _check_same_device(name, tensors, args)
    named = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
    on = [tensor.device for tensor in tensors if isinstance(tensor, Placed)]
    home = next(iter([*named, *on]), torch.device("cpu"))
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    with torch._C._DisableTorchDispatch():  # type: ignore[attr-defined]  # of torch's own modes
        found = func(*plain_args, **plain_kwargs)
    if name.endswith("_") and tensors and found is plain_args[0]:
        return args[0]
    if home.type != KIND:
        return found
    return tree_map(lambda leaf: Placed(leaf, home) if isinstance(leaf, Tensor) else leaf, found)


def _plain(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.held if isinstance(leaf, Placed) else leaf


def _check_same_device(name: str, tensors: list[Tensor], args: Any) -> None:
    """Fail as torch does where tensors of several devices meet; single numbers may be on a CPU."""
    devices = {str(tensor.device) for tensor in tensors if tensor.dim() > 0 or tensor.device.type == KIND}
    if name in TAKING_INDEXES and str(args[0].device) != "cpu":
        devices -= {"cpu"}
    if len(devices) > 1 and name not in MOVING:
        raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got {sorted(devices)}")


@contextmanager
def fake_devices() -> Iterator[None]:
    """Let tensors be moved to `lazy:0`, `lazy:1` and so on in the block."""
    # As torch's own fake tensors do, so that `torch.tensor` makes its numbers on the CPU and moves them.
    before = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    try:
        with _Everywhere():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)  # type: ignore[attr-defined]


def spread_over(model: nn.Module, places: Mapping[str, int]) -> None:
    """Put the modules named in `places` on devices and let accelerate move what passes between them, in place."""
    device_map = {name: f"{KIND}:{number}" for name, number in places.items()}
    for name, device in device_map.items():
        inner = model.get_submodule(name)
        for module in inner.modules():
            for key, weight in module._parameters.items():
                if weight is not None:
                    module._parameters[key] = nn.Parameter(Placed(weight.data, torch.device(device)), False)
            for key, value in module._buffers.items():
                if value is not None:
                    module._buffers[key] = Placed(value, torch.device(device))
    dispatch_model(model, device_map, force_hooks=True)
