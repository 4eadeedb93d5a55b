"""adaptinf export-model: the model after a step as an ordinary Hugging Face folder, for any program that serves models.

adapter_config.json, adapter_model.safetensors    the adapter, if it is one
config.json, model*.safetensors                   whole weights, with --merge or after full tuning
generation_config.json                            greedy, with the end tokens that were learnt
tokenizer, processor and template files           those of the base model
README.md                                         the model card: data, method, tests, what was forgotten, how to use it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptinf.errors import ModelError
from adaptinf.model_export.card import write_card
from adaptinf.model_export.names import model_name
from adaptinf.model_export.origin_rows import at_most
from adaptinf.model_export.request import Form, Request, checked_request, rolled_back_line
from adaptinf.progress import Progress, Silent
from adaptinf.runs import Run
from adaptinf.runs.learners import learner_after
from adaptinf.storage import drafts, store
from adaptinf.words import format_bytes

if TYPE_CHECKING:
    from adaptinf.model_export.made import Made

MAX_MOVED = 0.01
"""A larger change of a logit, as a share of the largest one, is worth a note even where no token changes."""


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """A folder with the model after a step."""

    folder: Path
    """The folder."""
    run: Path
    """The run folder."""
    step: int
    """The step."""
    form: Form
    """`adapter`: of the base model; `merged`: whole weights; `whole`: those of full tuning."""
    base: str
    """Name of the base model on the hub, else the name of its folder."""
    dtype: str
    """Type of the weights."""
    num_bytes: int
    """Bytes of all files."""
    moved: float | None
    """Largest difference of a logit to the model that the run has tested, on short prompts, as a share of the largest
    logit; None: the folder was not loaded again."""
    same_tokens: bool | None
    """Whether the most probable token is the same everywhere on these prompts; None as above."""
    notes: tuple[str, ...]
    """What its user should know, a sentence each."""

    @property
    def distance(self) -> str:
        """How far the logits are from those of the tested model at most, in percent; empty where that is not known."""
        return "" if self.moved is None else at_most(self.moved)

    def __repr__(self) -> str:
        return f"ExportedModel({str(self.folder)!r}: {self.form} of step {self.step}, {format_bytes(self.num_bytes)})"

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**vars(self), "folder": str(self.folder), "run": str(self.run), "notes": list(self.notes)}


def export_model(
    run: Run, step: int | None, out: Path, *, merge: bool = False, check: bool = True, progress: Progress | None = None
) -> ExportedModel:
    """Write the model after a step as a Hugging Face folder with a model card; the folder appears when it is complete.

    Args:
        run: the run.
        step: number of the step; None: the newest finished one that the gate has not rolled back.
        out: the folder; it must not exist, or be empty.
        merge: write whole weights in the base model's own type, not an adapter.
        check: load an adapter's folder again and compare its logits with the run's; whole weights are always compared.
        progress: where to report.

    Raises:
        ConfigError: the step is not finished, its adapter alone is not its model, or something stands at `out`.
        ModelError: the model cannot be loaded, or the folder would be another model than the one that was tested.
        StoreError: the base model is another one than before, or weights of the run are missing or damaged.
    """
    request = checked_request(run, step, out, merge=merge)
    with run.plugins(), drafts.new_folder(request.out, replaces_empty=True) as part:
        made = _made(request, part, check=check, progress=progress or Silent())
        notes = tuple(_notes(request, made))
        write_card(request, made, part)
    agreement = made.agreement
    return ExportedModel(
        folder=request.out,
        run=run.folder,
        step=request.step,
        form=request.form,
        base=model_name(run.settings.model.path).name,
        dtype=made.dtype,
        num_bytes=store.folder_bytes(request.out),
        moved=None if agreement is None else agreement.moved,
        same_tokens=None if agreement is None else agreement.same_tokens,
        notes=notes,
    )


def _made(request: Request, part: Path, *, check: bool, progress: Progress) -> Made:
    """Write the model's files; messages name the folder that its user has asked for."""
    from adaptinf.model_export.made import make_adapter, make_whole

    recipe = learner_after(request.run, request.step)
    try:
        with progress.stage("export model", 1, unit="models") as bar:
            if request.form == "adapter":
                made = make_adapter(request, recipe, part, check=check)
            else:
                made = make_whole(request, recipe, part)
            bar.advance()
    except ModelError as error:
        raise ModelError(str(error).replace(str(part), str(request.out))) from error
    return made


def _notes(request: Request, made: Made) -> list[str]:
    """Return what the user should know of a folder, a sentence each."""
    base = model_name(request.run.settings.model.path)
    line = rolled_back_line(request.run, request.step)
    notes = [] if line is None else [line]
    if not base.is_on_hub:
        named = " adapter_config.json names it by its path on this machine, which is needed to load the adapter;"
        there = named if request.form == "adapter" else ""
        notes.append(
            f"the base model is a local folder:{there} before you publish, write its name on the hub in its place"
            + (" and into README.md" if there else " in README.md")
        )
    if made.failed:
        notes.append(f"transformers alone cannot load the adapter, PeftModel can: {made.failed}")
    agreement = made.agreement
    if agreement is not None and (agreement.moved > MAX_MOVED or not agreement.same_tokens):
        tokens = "the most probable tokens of short prompts stay" if agreement.same_tokens else "some answers change"
        how_far = f"up to {at_most(agreement.moved)} of the largest one"
        notes.append(f"in {made.dtype} logits are {how_far} off those of the tested model: {tokens}")
    return notes
