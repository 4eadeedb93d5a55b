"""Running the upper blocks again on the same batch, without computing images and lower blocks again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from adaptinf.extraction.hooks import first_hidden, with_hidden
from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.loading import Learner
from adaptinf.models.replaced import replaced_forward


@dataclass
class Rerun:
    """The last call of a learner's decoder, ready to be repeated from block `layer` up."""

    decoder: Any
    """The language model without its head."""
    layer: int
    """The first block that runs again."""
    call: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """Arguments of the decoder's last call."""
    entry: Tensor | None = None
    """What went into block `layer` then."""
    returns_tuple: dict[int, int] = field(default_factory=dict)
    """Block number -> length of the tuple that it returns; a block that returns a tensor is not in it."""
    is_running: bool = False
    """Whether the decoder runs again at the moment."""

    def __call__(self) -> Tensor:
        """Return the decoder's last hidden states, B x S x H, as the upper blocks make them now."""
        assert self.call is not None, "the decoder ran"
        args, kwargs = self.call
        self.is_running = True
        try:
            with _skipped(list(decoder_blocks(self.decoder))[: self.layer], self.returns_tuple):
                hidden: Tensor = self.decoder(*args, **kwargs).last_hidden_state
        finally:
            self.is_running = False
        return hidden


@contextmanager
def rerunning(learner: Learner, layer: int) -> Iterator[Rerun]:
    """Record the calls of a learner's decoder, so that they can be rerun; the hooks are removed on leaving."""
    decoder = base_model(learner.model).get_decoder()
    rerun, blocks = Rerun(decoder=decoder, layer=layer), decoder_blocks(learner.model)
    with ExitStack() as stack:
        hooks = [
            decoder.register_forward_pre_hook(_remember_call(rerun), with_kwargs=True),
            blocks[layer].register_forward_pre_hook(_remember_or_replace(rerun), with_kwargs=True),
            *(block.register_forward_hook(_remember_shape(rerun, n)) for n, block in enumerate(blocks[:layer])),
        ]
        for hook in hooks:
            stack.callback(hook.remove)
        yield rerun


def _remember_call(rerun: Rerun) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not rerun.is_running:
            rerun.call = (args, kwargs)

    return hook


def _remember_or_replace(rerun: Rerun) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if not rerun.is_running:
            rerun.entry = first_hidden(args, kwargs).detach()
            return None
        assert rerun.entry is not None, "the block ran"
        return with_hidden(args, kwargs, rerun.entry)

    return hook


def _remember_shape(rerun: Rerun, number: int) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, tuple):
            rerun.returns_tuple[number] = len(output)

    return hook


@contextmanager
def _skipped(blocks: list[nn.Module], returns_tuple: dict[int, int]) -> Iterator[None]:
    """Make blocks return their input unchanged."""

    def identity(number: int) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden, length = first_hidden(args, kwargs), returns_tuple.get(number)
            return hidden if length is None else (hidden, *([None] * (length - 1)))

        return forward

    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            stack.enter_context(replaced_forward(block, identity(number)))
        yield
