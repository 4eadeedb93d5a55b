"""`extraction.compile`: decoder blocks whose passes over elements are fused by torch.compile while a model measures.

Compiled blocks round otherwise, so what decides whether and how a batch is computed must be the same for every worker
and after every restart. Kernels are made for small batches that are always the same, with sizes left open, and chosen
without a stopwatch; a batch that they do not fit is computed as it would be without them. Whether blocks are compiled
is found once per extraction, on its first batch, and kept with the plan.

Blocks whose linear layers are measured stay as they are, as autograd must see what these give; so does the last one,
whose feed-forward layer is computed for a varying number of tokens.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptinf.config import ExtractionConfig
from adaptinf.errors import ModelError
from adaptinf.extraction.batches import Prepared, prepare
from adaptinf.extraction.hooks import first_hidden
from adaptinf.extraction.meter import Measured, Meter
from adaptinf.extraction.vectors.zeroth_order import ZerothOrder
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.calls import first_tensor
from adaptinf.models.memory import is_out_of_memory
from adaptinf.models.replaced import replaced_forward
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.models.spread import is_spread
from adaptinf.words import one_line

AUTO_SAMPLES = 2_000
"""`auto` compiles for at least so many samples: compiling takes about a minute, which few samples do not bring back."""
TRIAL_WORDS = ((9, 30, 60, 90), (30,))
"""Words of the answers in the batches that blocks are compiled with: several samples, and one, which is a special case
of a compiler."""
MANY_VARIANTS = 64
"""Variants of one block that may be compiled: with and without a graph, for one sample and several, of any kind."""
BLOCK_BOUND = {torch.float32: 1e-4}
"""Type of the weights -> largest relative difference of what a block adds; of other types 2e-2."""
RESULT_BOUND = {torch.float32: 1e-3}
"""Type of the weights -> largest relative difference of a vector, embedding or loss; of other types 0.1."""
LEAST_LOSS = 0.1
"""Losses below are compared as if they were so large."""

logger = logging.getLogger(__name__)


def wants_compiled(config: ExtractionConfig, device: torch.device, num_samples: int) -> bool:
    """Return whether blocks are to be compiled; `auto`: on a GPU, for many samples."""
    if config.compile == "auto":
        return device.type == "cuda" and num_samples >= AUTO_SAMPLES
    return config.compile


class CannotCompile(Exception):
    """Blocks cannot be compiled, or compute something else then; the text says why."""


@dataclass
class CompiledBlocks:
    """The blocks of a meter, which can be compiled once."""

    meter: Meter
    """The hooked model."""
    is_on: bool = False
    """Whether blocks are compiled."""
    _checked: list[float] | None = None
    """While a batch is compared: for each call of a compiled block the difference from the plain one, as a share of
    the bound."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def turn_on(self) -> None:
        """Compile blocks, once.

        Raises:
            CannotCompile: it is not possible for this model on this machine.
        """
        if self.is_on:
            return
        numbers = _fitting_blocks(self.meter)
        blocks = decoder_blocks(self.meter.learner.model)
        batches = [one for one in _trial_batches(self.meter) if one.rows]
        if not batches:
            raise CannotCompile("the model takes none of the small conversations that blocks are compiled with")
        try:
            with ExitStack() as attempt, warnings.catch_warnings():
                # The compiler's own, about its parts.
                warnings.simplefilter("ignore")
                attempt.enter_context(_settings_of_compiler())
                # What an earlier extraction has compiled could be taken again, made for other sizes.
                torch.compiler.reset()
                for number in numbers:
                    forward = self._either(blocks[number])
                    attempt.enter_context(replaced_forward(blocks[number], forward))
                for prepared in batches:
                    self.meter.measure(prepared)
                attempt.enter_context(torch.compiler.set_stance("eager_on_recompile"))
                self._stack.push(attempt.pop_all())
        except Exception as error:  # a compiler in front of any model: both can raise anything
            self.meter.trace.clear(None)
            logger.debug("blocks are not compiled", exc_info=True)
            raise CannotCompile(one_line(error)) from error
        self.is_on = True

    def compare(self, prepared: Prepared) -> None:
        """Compare what compiled blocks give for a batch with what plain ones give.

        Raises:
            CannotCompile: it is not the same up to rounding, or the batch does not fit compiled blocks.
        """
        if not prepared.rows:
            raise CannotCompile("no sample of the first batch can be used")
        dtype = self.meter.learner.model.dtype
        with torch.compiler.set_stance("force_eager"):
            plain = self.meter.measure(prepared)
        self._checked = []
        try:
            with torch.compiler.set_stance("fail_on_recompile"):
                compiled = self.meter.measure(prepared)
            largest = max(self._checked, default=0.0)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise CannotCompile(f"a batch of samples has another form than small ones: {one_line(error)}") from error
        finally:
            self._checked = None
        if not largest <= 1:
            raise CannotCompile(f"a compiled block gives something else ({largest:.2g} times what rounding explains)")
        if not (moved := _difference(plain, compiled)) <= RESULT_BOUND.get(dtype, 0.1):
            raise CannotCompile(f"vectors or losses change by {moved:.2g} with compiled blocks")

    def turn_off(self) -> None:
        """Give the blocks their own methods again."""
        self._stack.close()
        self.is_on = False

    def _either(self, block: nn.Module) -> Callable[..., Any]:
        plain = block.forward
        # The options leave out whatever is chosen by a stopwatch, as two workers would choose differently.
        compiled = torch.compile(plain, dynamic=True, fullgraph=True, options={"deterministic": True})

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = compiled(*args, **kwargs)
            if self._checked is not None:
                with torch.no_grad():
                    expected, entry = first_tensor(plain(*args, **kwargs)), first_hidden(args, kwargs)
                    self._checked.append(_share_of_bound(entry, expected, first_tensor(output)))
            return output

        return forward


@contextmanager
def compilable(meter: Meter) -> Iterator[CompiledBlocks]:
    """Yield the blocks of a meter, not compiled yet; on leaving they are as before."""
    blocks = CompiledBlocks(meter)
    try:
        yield blocks
    finally:
        blocks.turn_off()


def begin_compiled(blocks: CompiledBlocks, first: Prepared, *, is_asked: bool) -> str | None:
    """Compile blocks if they give the same on the first batch of an extraction; return a line where they stay plain.

    Raises:
        ModelError: they stay plain, and the settings ask for compiled ones (`is_asked`).
    """
    reason = _reason_against(blocks, first)
    if reason is None:
        return None
    if is_asked:
        raise ModelError(f"extraction.compile: true, but {reason}; set extraction.compile: auto")
    return f"blocks are not compiled: {reason}"


def _reason_against(blocks: CompiledBlocks, first: Prepared) -> str | None:
    """Compile blocks and compare them on a batch; return why they stay plain, None: they do not."""
    try:
        blocks.turn_on()
        blocks.compare(first)
    except CannotCompile as error:
        blocks.turn_off()
        return str(error)
    except Exception as error:  # the model fails on the batch, which is halved or reported when it is measured
        blocks.turn_off()
        blocks.meter.trace.clear(None)
        return f"the first batch cannot be measured at once ({one_line(error)})"
    return None


def follow(blocks: CompiledBlocks, is_compiled: bool) -> None:
    """Let blocks be as an extraction has begun with them.

    Raises:
        ModelError: it began with compiled ones, and this worker cannot compile.
    """
    if not is_compiled:
        blocks.turn_off()
        return
    try:
        blocks.turn_on()
    except CannotCompile as error:
        raise ModelError(
            f"this extraction began with compiled blocks, and they cannot be compiled here ({error}); go on where it "
            "began, or delete the folder of its shards to begin again with extraction.compile: false"
        ) from error


def _fitting_blocks(meter: Meter) -> list[int]:
    """Return the numbers of the blocks that can be compiled.

    Raises:
        CannotCompile: there is none, or the model is not computed in one piece.
    """
    if isinstance(meter.kind, ZerothOrder):
        raise CannotCompile("extraction.vector: zeroth_order moves what blocks compute")
    if is_spread(meter.learner.model):
        raise CannotCompile("the model is spread over several devices")
    last = len(decoder_blocks(meter.learner.model)) - 1
    left_out = {last, *(meter.layers if meter.kind.needs_gradient else ())}
    numbers = [number for number in range(last + 1) if number not in left_out]
    if not numbers:
        raise CannotCompile("every block is measured, or the last one")
    return numbers


@contextmanager
def _settings_of_compiler() -> Iterator[None]:
    """Allow the variants that are needed; past the limit, a compiler computes as without it, without a word."""
    import torch._dynamo.config as settings
    from torch.fx.experimental import _config

    sizes: Any = _config  # torch gives its settings their methods while it is imported
    limits = {"recompile_limit": MANY_VARIANTS, "accumulated_recompile_limit": 64 * MANY_VARIANTS}
    # Sizes that are equal by chance, such as that of a batch and the rank of an adapter, are not taken to be the same.
    with settings.patch(limits), sizes.patch(use_duck_shape=False):
        yield


def _trial_batches(meter: Meter) -> Iterator[Prepared]:
    """Yield small batches of all kinds that a model takes: of text and about images, of several samples and of one."""
    for words in TRIAL_WORDS:
        for num_images in (0, 1) if meter.learner.has_vision else (0,):
            samples = [trial_sample(number, num_images) for number in words]
            images = [trial_images(num_images)] * len(samples)
            prepared = prepare(meter.learner, range(len(samples)), samples, images, image="unmeasured")
            # The pass without images is one without a graph.
            if meter.learner.has_vision and meter.config.image != "unmeasured":
                numbers = tuple(range(len(prepared.rows)))
                prepared = replace(prepared, with_images=numbers, without_images=prepared.batch)
            yield prepared


def _share_of_bound(entry: Tensor, expected: Tensor, found: Tensor) -> float:
    """Return how far a block's output is from what it should be, 1 at the most that rounding explains.

    What is not finite in both, as at padded places that attend to nothing, is left out.
    """
    moved = torch.nan_to_num(found.float() - expected.float(), nan=torch.inf)
    moved[~(expected.isfinite() | found.isfinite())] = 0.0
    added = torch.nan_to_num(expected.float() - entry.float())
    relative = BLOCK_BOUND.get(entry.dtype, 2e-2)
    rounding = 2 * torch.finfo(entry.dtype).eps * torch.nan_to_num(expected.float()).norm()
    return float(moved.norm() / (relative * added.norm() + rounding).clamp_min(torch.finfo(torch.float32).tiny))


def _difference(one: Measured, other: Measured) -> float:
    """Return the largest relative difference of a vector, an embedding or a loss."""
    losses = (one.outcome.loss_T[None], other.outcome.loss_T[None])
    # Losses as one row, as that of a single token is a difference of large logits.
    parts = [(one.vectors, other.vectors, 0.0), (one.embeddings, other.embeddings, 0.0), (*losses, LEAST_LOSS)]
    return max(_largest(first, second, least) for first, second, least in parts)


def _largest(first: np.ndarray, second: np.ndarray, least: float) -> float:
    """Return the largest distance of two rows as a share of their length, or of that of rows of `least`."""
    if (np.isfinite(first) != np.isfinite(second)).any():
        return float("inf")
    distances: np.ndarray = np.linalg.norm(np.nan_to_num(first - second), axis=1)
    lengths: np.ndarray = np.linalg.norm(np.nan_to_num(first), axis=1)
    return float((distances / np.maximum(lengths, max(least * first.shape[1] ** 0.5, 1e-30))).max(initial=0.0))
