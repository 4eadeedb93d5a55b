"""How a learner is made, as a description that can be sent to other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models.adapters import begin_adapter, continue_adapter, load_adapter, merge_adapter
from adaptinf.models.kernels import is_quantised
from adaptinf.models.loading import Learner, load


@dataclass(frozen=True, kw_only=True)
class LearnerRecipe:
    """A model, the adapters merged into its weights, and the adapter on top of them, continued or new."""

    model: ModelConfig
    """The model to load; after full tuning `path` is the folder of the trained one."""
    merged: tuple[Path, ...] = ()
    """Folders of the adapters that are added into the weights, in this order; of quantised weights one alone, which
    stays beside them."""
    continued: Path | None = None
    """Folder of the adapter that is trained further; None: none."""
    new_adapter_seed: int | None = None
    """Seed of an adapter that is begun; None: none is begun."""
    num_gpus: int = 1
    """GPUs that the model is spread over where no device is named."""

    def make(self, device: str | None = None) -> Learner:
        """Return the learner, newly loaded.

        Args:
            device: where to load it whole, as `model.device`; None: where its settings say, spread over `num_gpus`.

        Raises:
            ModelError: the model or an adapter cannot be loaded.
        """
        if device is None:
            learner = load(self.model, num_gpus=self.num_gpus)
        else:
            learner = load(self.model.model_copy(update={"device": device}))
        is_alone = len(self.merged) == 1 and self.continued is None and self.new_adapter_seed is None
        for folder in self.merged:
            adapted = load_adapter(learner, folder)
            # On quantised weights it stays beside them, where nothing of it is rounded away.
            learner = adapted if is_alone and is_quantised(adapted.model) else merge_adapter(adapted)
        if self.continued is not None:
            learner = continue_adapter(learner, self.continued)
        return learner if self.new_adapter_seed is None else begin_adapter(learner, self.new_adapter_seed)

    def unquantised(self) -> LearnerRecipe:
        """Return the recipe with weights as `model.dtype` says, into which an adapter can be merged."""
        return replace(self, model=self.model.model_copy(update={"quantization": "none"}))


def made(learner: Learner | LearnerRecipe) -> Learner:
    """Return a learner as it is, or make the one that a recipe describes."""
    return learner.make() if isinstance(learner, LearnerRecipe) else learner


def check_can_travel(learner: Learner | LearnerRecipe, executor: object) -> None:
    """Refuse a loaded learner where work leaves this process.

    Args:
        learner: what the work needs.
        executor: the executor that takes the work to other processes.

    Raises:
        ModelError: the learner is loaded, so that it could not be sent.
    """
    if isinstance(learner, Learner):
        raise ModelError(
            f"{type(executor).__name__} works in other processes, which cannot be sent a loaded model; give a "
            "LearnerRecipe instead of the Learner, or leave out the executor to work in this process"
        )
