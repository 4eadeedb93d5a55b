"""The files of an exported model, and what loading them again has shown: the part that needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adaptinf.model_export.names import model_name
from adaptinf.model_export.request import Request
from adaptinf.models.asking import Asking, asking_of, write_generation_settings
from adaptinf.models.exported import AUTO, PEFT, check_adapter, write_adapter
from adaptinf.models.folders import ADAPTER_FILE, json_settings
from adaptinf.models.loading import class_and_reader
from adaptinf.models.merged import write_merged
from adaptinf.models.passes import Agreement
from adaptinf.models.placement import dtype_name
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.models.stored import stored_type

__all__ = ["AUTO", "PEFT", "Made", "make_adapter", "make_whole"]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was written."""

    asking: Asking
    """How the model is asked."""
    dtype: str
    """Type of its weights; of an adapter that of the base model in the tests of the run."""
    agreement: Agreement | None
    """How near it is to the tested model; None: it was not loaded again."""
    ways: tuple[str, ...]
    """The ways in which an adapter was loaded, of PEFT and AUTO; empty for whole weights, or if it was not loaded."""
    failed: str
    """Why AUTO does not load it; empty where it does."""
    rank: int
    """The largest rank of an adapter's layers; 0 for whole weights."""
    unserved: str
    """What keeps vLLM from serving an adapter beside its base model; empty: nothing is known."""


def make_adapter(request: Request, recipe: LearnerRecipe, part: Path, *, check: bool) -> Made:
    """Write an adapter with what belongs to it, and load it again as its users will."""
    settings = request.run.settings.model
    model_class, reader = class_and_reader(settings)
    asking = asking_of(reader, model_class)
    base = model_name(settings.path)
    name = base.name if base.is_on_hub else settings.path
    write_adapter(reader, request.weights, part, base=settings.path, name=name, commit=request.commit)
    write_generation_settings(reader, part)
    checked = check_adapter(recipe, part, asking) if check else None
    lora = json_settings(part / ADAPTER_FILE)
    return Made(
        asking=asking,
        # The device of the run is not needed where its type is known.
        dtype=dtype_name(settings) if settings.dtype == "auto" else settings.dtype,
        agreement=None if checked is None else checked.agreement,
        ways=() if checked is None else checked.ways,
        failed="" if checked is None else checked.failed,
        rank=max([int(lora.get("r") or 0), *(int(rank) for rank in (lora.get("rank_pattern") or {}).values())]),
        unserved=_unserved(lora),
    )


def make_whole(request: Request, recipe: LearnerRecipe, part: Path) -> Made:
    """Write whole weights with what belongs to them; they are loaded again."""
    settings = request.run.settings.model
    agreement = write_merged(recipe, part, base=settings.path, dtype=request.dtype)
    model_class, reader = class_and_reader(settings)
    write_generation_settings(reader, part)
    return Made(
        asking=asking_of(reader, model_class),
        dtype=stored_type(part) or dtype_name(settings),
        agreement=agreement,
        ways=(),
        failed="",
        rank=0,
        unserved="",
    )


def _unserved(lora: dict[str, object]) -> str:
    """Return what of an adapter vLLM does not take, as its own check of PEFT's settings has it."""
    found = {
        "whole modules beside the adapter (a trained projector)": lora.get("modules_to_save"),
        "factors on weights of fused experts": lora.get("target_parameters"),
        "DoRA": lora.get("use_dora"),
        "biases": lora.get("bias") not in (None, "none"),
    }
    return ", ".join(name for name, holds in found.items() if holds)
