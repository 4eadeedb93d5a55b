"""Seeds, versions, and how near an exported folder is to what the run has tested."""

from __future__ import annotations

import math
from importlib import metadata
from typing import TYPE_CHECKING

import adaptinf
from adaptinf.model_export.method_rows import Rows
from adaptinf.model_export.request import Request
from adaptinf.runs.base import KeptBase
from adaptinf.storage import store

if TYPE_CHECKING:
    from adaptinf.model_export.made import Made

PACKAGES = ("torch", "transformers", "peft", "safetensors")
"""Packages whose versions are named."""


LEAST_SHARE = 1e-5
"""Smaller shares of the largest logit are rounding, whose size says nothing."""


def at_most(share: float) -> str:
    """Return a bound of a share in percent, two digits of it, rounded up; never below LEAST_SHARE."""
    value = 100 * max(share, LEAST_SHARE)
    if not math.isfinite(value):
        return "any number of %"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.4g} %"


def origin_rows(request: Request, made: Made) -> Rows:
    """Return what is needed to tell where a model comes from."""
    run, made_by = request.run, request.run.made_by()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    commit = "" if made_by is None or made_by.git_sha is None else f", commit {made_by.git_sha}"
    rows = [
        ("seed of the run", str(run.config.seed)),
        ("steps of the run so far", str(run.num_finished)),
        ("trained with", "not recorded" if made_by is None else f"adaptinf {made_by.version}{commit}"),
        ("last step begun", "not recorded" if made_by is None else made_by.utc_time),
        ("exported with", f"adaptinf {adaptinf.__version__}; {versions}"),
        ("exported", store.utc_now()),
        ("type of the weights", made.dtype),
        ("compared with the tested model", _compared(request, made)),
    ]
    base = _base_identity(request)
    return [*rows[:3], ("base model", base), *rows[3:]] if base else rows


def _base_identity(request: Request) -> str:
    """Return digest and commit of the base model's files as the run has recorded them; empty where it has not."""
    kept = KeptBase.read(request.run.base_file)
    found = None if kept is None else kept.models.get("model.path")
    if found is None:
        return ""
    return f"digest of its files {found.digest}" + (f", commit {found.commit}" if found.commit else "")


def _compared(request: Request, made: Made) -> str:
    agreement = made.agreement
    if agreement is None:
        return "no (`--no-check`)"
    tokens = "the same" if agreement.same_tokens else "not the same everywhere"
    what = "the adapter on its base model" if request.form == "adapter" else "this folder"
    return (
        f"{what} was loaded again: on short prompts no logit differs by more than {at_most(agreement.moved)} of the "
        f"largest one from those of the model that was tested, and the most probable tokens are {tokens}"
    )
