"""How a model was trained, as the table of a model card: settings that others may read, and what the run counted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from adaptinf.data import Features, Selection, Trained
from adaptinf.model_export.names import public_value
from adaptinf.runs import Run
from adaptinf.runs.composition import weights_of
from adaptinf.runs.gates import kept_steps
from adaptinf.runs.settings import method_options

Rows = list[tuple[str, str]]
"""What and its value."""
NUMBERS = (bool, int, float)
"""Values of further arguments of the trainer that are shown; a text may be a path or a secret."""
OF_TRAINING = (
    "epochs", "learning_rate", "lr_scheduler", "warmup_ratio", "optimizer", "weight_decay", "max_grad_norm",
    "batch_size",
)  # fmt: skip
"""Settings of `training` that the table has, in this order."""


def selection_rows(run: Run, step: int) -> Rows:
    """Return what decided which samples were trained on."""
    settings = run.settings
    options = {name: public_value(value) for name, value in method_options(settings).items()}
    rows = [
        ("method", settings.selection.method),
        ("samples per step (budget)", str(settings.selection.budget)),
        *((f"option `{name}`", value) for name, value in sorted(options.items())),
        ("samples that the pool keeps (cap)", public_value(settings.pruning.cap)),
        *_shares(run, step),
    ]
    if not run.has(step, Features):
        return rows
    vectors = settings.extraction
    rows += [("clusters", public_value(settings.clustering.clusters)), ("vectors", vectors.vector)]
    rows.append(("decoder blocks that vectors are from", public_value(vectors.layers)))
    if vectors.model is not None:
        rows.append(("measured with", "another model than the one that was trained (`extraction.model`)"))
    return rows


def _shares(run: Run, step: int) -> Rows:
    """Return what the settings asked of old data and of single datasets; no rows where they asked for nothing."""
    rows: Rows = []
    share, weights = run.settings.selection.replay_share, weights_of(run.settings, step)
    if share is not None:
        found = [Selection.load_composition(run.stage_folder(number, Selection))[1] for number in range(step + 1)]
        given = ", ".join(str(one.given) for one in found if one is not None)
        rows.append(("share of earlier datasets", f"{share:g}; samples of them, step by step: {given or 'none'}"))
    if weights is not None:
        shown = [f"`{run.settings.stream[number].name}` {weight:g}" for number, weight in weights.items()]
        rows.append(("weights of datasets, others 1", ", ".join(shown)))
    return rows


def training_rows(run: Run, step: int) -> Rows:
    """Return how the selected samples were trained on, up to a step."""
    training, model = run.settings.training, run.settings.model
    rows = [*_trainer(training), *_tuned(run)]
    values = {name: getattr(training, name) for name in OF_TRAINING}
    rows += [(name.replace("_", " "), _plain(value)) for name, value in values.items()]
    shown = {name: value for name, value in training.arguments.items() if isinstance(value, NUMBERS)}
    rows += [(f"argument `{name}`", public_value(value)) for name, value in sorted(shown.items())]
    hidden = sorted(training.arguments.keys() - shown.keys())
    if hidden:
        rows.append(("further arguments, set", ", ".join(f"`{name}`" for name in hidden)))
    trained = [found.info for number in kept_steps(run, step) if (found := run.load(number, Trained)) is not None]
    rows += [
        ("longest sample", f"{model.max_length} tokens"),
        ("type of the weights while training", model.dtype),
        ("optimiser steps, all steps together", _total([info.get("optimizer_steps") for info in trained])),
    ]
    last = trained[-1] if trained else {}
    if last.get("trained_share") is not None:
        rows.append(("share of the weights that learnt", f"{100 * last['trained_share']:.3g} %"))
    if last.get("final_loss") is not None:
        rows.append(("loss at the end of the last step", f"{last['final_loss']:.4g}"))
    return rows


def _total(counts: Sequence[object]) -> str:
    """Return the sum of some counts; a trainer of the user's may have said nothing about one."""
    known = [count for count in counts if isinstance(count, int)]
    return str(sum(known)) if len(known) == len(counts) else "not known"


def _plain(value: object) -> str:
    """Return a value of OF_TRAINING, whose texts are names of schedulers and optimisers."""
    return value if isinstance(value, str) else public_value(value)


# Any: the section of the settings, of which later versions have more keys.
def _trainer(training: Any) -> Rows:
    """Return who trained: of a command of the user's only the program, as its words may be paths or secrets."""
    command = getattr(training, "command", None)
    if not command:
        return [("trainer", "built in (Hugging Face `Trainer`)")]
    words = shlex.split(command)
    name = public_value(words[0].rpartition("/")[2]) if words else "set"
    return [("trainer", f"a program outside of adaptinf (`{name}`)")]


def _tuned(run: Run) -> Rows:
    """Return which weights learnt."""
    settings = run.settings
    if settings.training.tune == "full":
        return [("tuned", "all weights of language model and projector")]
    lora, how = settings.model.lora, settings.training.adapter
    meaning = "one adapter over all steps" if how == "continue" else "a new adapter in each step, merged after it"
    rows = [
        ("tuned", f"LoRA, {meaning}"),
        ("rank, alpha, dropout", f"{lora.rank}, {lora.alpha:g}, {lora.dropout:g}"),
        ("layers", public_value(lora.target_modules) if lora.target_modules else "all linear layers of the decoder"),
        ("projector", settings.model.projector),
    ]
    shown = {"rank", "alpha", "dropout", "target_modules"}
    default = type(lora)()
    others = {name: getattr(lora, name) for name in type(lora).model_fields if name not in shown}
    rows += [
        (f"`lora.{name}`", public_value(value)) for name, value in others.items() if value != getattr(default, name)
    ]
    if settings.model.adapter is not None:
        rows.append(("began with", "an adapter that was there before the run (`model.adapter`)"))
    return rows
