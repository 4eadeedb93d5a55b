"""Checks before a run starts: files, plug-ins and options that it names, before a model is loaded."""

from __future__ import annotations

from pathlib import Path

from adaptinf import registry
from adaptinf.config import DatasetConfig, ModelConfig, RunConfig, SelectionConfig, TrainingConfig
from adaptinf.config.schema import UNUSED_ARGUMENTS
from adaptinf.data import Features
from adaptinf.distributed.devices import RAY, num_devices
from adaptinf.errors import ConfigError
from adaptinf.evaluation.engines import engine_problem
from adaptinf.evaluation.harness.tests import harness_problems
from adaptinf.evaluation.skills import metric_of, missing_files, unknown_introductions
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run, column_names, composition, gates, given_adapter, keep, targets, trainer_command
from adaptinf.runs.layout import POOL
from adaptinf.scoring.columns import PREFIX, column_of
from adaptinf.selection import known_options, traits_of, with_options
from adaptinf.selection.traits import allowed_settings
from adaptinf.sources import source_problem

JUDGED_BY_THE_TRAINER = ("optimizer", "lr_scheduler", "report_to", "arguments", "fsdp", "deepspeed")
"""Settings of the training whose values belong to transformers; their defaults are known to be good."""


def check(config: RunConfig, *, whole_stream: bool, folder: Path | None = None) -> None:
    """Check that every named file exists and every named plug-in is known.

    Args:
        config: the settings.
        whole_stream: no dataset will be added later, so a skill may name listed datasets only.
        folder: of the run; the files of datasets that are in its pool may have gone.

    Raises:
        ConfigError: lists everything that is missing.
    """
    problems = [] if config.model.path else ["model.path is empty; name a Hugging Face folder or hub model"]
    models = {"model.path": config.model.path, "extraction.model": config.extraction.model or ""}
    problems += [f"{key}: {path} does not exist" for key, path in models.items() if _is_missing(path)]
    if folder is None or given_adapter.is_needed(config, Run(folder=folder, config=config)):
        problems += [line for line in (given_adapter.problem(config.model.adapter),) if line]
    problems += [] if config.stream else ["stream is empty; list at least one dataset (name, path, images)"]
    for dataset in _to_be_read(config, folder):
        problems += [f"stream: {dataset.name}: {line}" for line in (source_problem(dataset),) if line]
        gone = [folder for folder in dataset.image_folders if not Path(folder).exists()]
        problems += [f"stream: {dataset.name}: {folder} does not exist" for folder in gone]
    problems += missing_files(config.evaluation)
    problems += harness_problems(config)
    problems += gates.problems(config, folder)
    problems += unknown_introductions(config.evaluation, config.stream) if whole_stream else []
    with registry.scope(config.plugins):
        problems += _unknown_names(config)
        problems += _wrong_options(config) or column_names.problems(config, folder)
        problems += composition.problems(config, whole_stream=whole_stream)
        problems += keep.problems(config, folder) if config.stream else []
        problems += _wrong_metrics(config)
        problems += _wrong_refresh(config)
        problems += _settings_against_the_method(config)
        problems += [] if registry.selector.complaint(config.selection.method) else targets.problems(config)
        problems += trainer_command.problems(config)
    problems += (
        []
        if config.training.command
        else [
            *_wrong_training(config.training),
            *_wrong_devices(config),
            *_wrong_kernels(config),
        ]
    )
    problems += _untrainable_spread(config)
    problems += _wrong_model(config.model)
    problems += [line for line in (engine_problem(config),) if line]
    if problems:
        raise ConfigError("cannot start:\n" + "\n".join(f"  {problem}" for problem in problems))


def _to_be_read(config: RunConfig, folder: Path | None) -> list[DatasetConfig]:
    """Return the datasets of the stream that are not in the run's pool yet."""
    pool = [] if folder is None else stored_datasets(folder / POOL)
    joined = {(dataset.index, dataset.name) for dataset in pool}
    return [dataset for step, dataset in enumerate(config.stream) if (step, dataset.name) not in joined]


def unused(config: RunConfig) -> list[str]:
    """Return a line per changed setting that has no effect with the method or the adapter.

    `config` has passed `check`.
    """
    return [
        *given_adapter.contradictions(config),
        *_unused_scorers(config),
        *_unused_workers(config),
        *_unused_arguments(config),
        *gates.unused(config),
        *composition.unused(config),
    ]


def _unused_workers(config: RunConfig) -> list[str]:
    if config.executor != "local" or config.workers in ("auto", 1):
        return []
    return [f"workers={config.workers} has no effect with executor: local; set executor: processes, or ray"]


def _unused_arguments(config: RunConfig) -> list[str]:
    """Return a line per field of the Trainer that changes nothing."""
    return [
        f"training.arguments.{name} has no effect: {why}"
        for name, why in UNUSED_ARGUMENTS.items()
        if config.training.command is None and name in config.training.arguments
    ]


def _unused_scorers(config: RunConfig) -> list[str]:
    method, scorers = config.selection.method, config.selection.scorers
    with registry.scope(config.plugins):
        if scorers == SelectionConfig().scorers or "scorers" in known_options(method):
            return []
    return [f"selection.scorers={scorers} has no effect: {method} takes no scorers; selection.method=adapt does"]


def _is_missing(model: str) -> bool:
    """Tell whether a path can only be a folder, because hub names never look like it, and does not exist.

    `~` counts as such a path: neither this package nor transformers expands it.
    """
    is_folder = model.startswith((".", "/", "~")) or model.count("/") > 1
    return is_folder and not Path(model).exists()


def _unknown_names(config: RunConfig) -> list[str]:
    """Return a line per named plug-in that is not known."""
    named = [(registry.selector, config.selection.method)]
    fixed = (config.selection.choose or "").partition("fixed:")[2]
    scorers = [*config.selection.scorers, *([fixed] if fixed else [])]
    # For a column of the data see `runs/column_names.py`.
    measured = [name for name in scorers if not column_of(name)]
    wrong = [
        f"{line}; or {PREFIX}NAME, a column of the data"
        for name in measured
        if (line := registry.scorer.complaint(name))
    ]
    formats = [item.format for item in config.stream] + [item.format for item in config.evaluation]
    named += [(registry.dataset_format, name) for name in formats if name]
    named += [(registry.executor, config.executor)]
    return [line for kind, name in named if (line := kind.complaint(name))] + wrong


def _wrong_options(config: RunConfig) -> list[str]:
    """Return a line per option that the method does not know, or whose value it refuses."""
    if registry.selector.complaint(config.selection.method):
        return []
    try:
        with_options(config.selection.method, config.selection.method_options)
    except ConfigError as error:
        return [str(error)]
    return []


def _wrong_refresh(config: RunConfig) -> list[str]:
    """Return a line where measurements of several steps cannot be used together."""
    refresh, method = config.extraction.refresh, config.selection.method
    if refresh == "all" or registry.selector.complaint(method):
        return []
    if traits_of(method).needs_same_step:
        return [
            f"extraction.refresh={refresh}: the selector {method} needs all samples measured with one model "
            "(needs_same_step); set extraction.refresh: all, or choose another method"
        ]
    if not registry.scorer.complaint(Features.MEASURED_AT):
        return [
            f"extraction.refresh={refresh}: there is a scorer called {Features.MEASURED_AT}, which is the name of the "
            "column of ages; rename the scorer"
        ]
    return []


def _settings_against_the_method(config: RunConfig) -> list[str]:
    """Return a line per setting whose value leaves the method nothing to choose by."""
    method = config.selection.method
    if registry.selector.complaint(method):
        return []
    found = []
    for place, allowed in allowed_settings(method).items():
        section, _, key = place.partition(".")
        value = getattr(getattr(config, section), key)
        if value not in allowed:
            found.append(
                f"{place}={value}: the selector {method} needs {' or '.join(map(str, allowed))}; leave the setting "
                "out, or choose another method"
            )
    return found


def _wrong_metrics(config: RunConfig) -> list[str]:
    """Return a line per skill whose metric is not known, or does not take its options."""
    found = []
    for skill in config.evaluation:
        try:
            metric_of(skill)
        except ConfigError as error:
            found.append(str(error))
    return found


def _wrong_model(model: ModelConfig) -> list[str]:
    """Return a line per setting of the model that this machine cannot fulfil."""
    if (model.attention, model.quantization) == ("auto", "none"):
        return []
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        from adaptinf.models.kernels import complaints

        return complaints(model)


def _wrong_devices(config: RunConfig) -> list[str]:
    """Return a line if training asks for devices that this machine lacks; a Ray cluster is asked when it is joined."""
    if config.executor == RAY or config.training.devices in ("auto", 1):
        return []
    try:
        num_devices(config)
    except ConfigError as error:
        return [str(error)]
    return []


def _wrong_kernels(config: RunConfig) -> list[str]:
    """Return a line if training asks for kernels that this machine cannot run; of a Ray cluster nothing is known."""
    if config.executor == RAY or not config.training.arguments:
        return []
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        from adaptinf.models.placement import pick_device
        from adaptinf.training import liger

        line = liger.problem(config.training.arguments, pick_device(config.model.device).type)
    return [] if line is None else [line]


def _untrainable_spread(config: RunConfig) -> list[str]:
    """Return a line if a model that is spread over GPUs is to be trained whole on each, found hours later otherwise."""
    training = config.training
    if config.num_gpus == 1 or training.command is not None or training.fsdp or training.deepspeed:
        return []
    return [
        f"gpus_per_worker={config.num_gpus} spreads the model over GPUs to measure and test it, and training would put "
        "all of it on each; set training.fsdp: true or training.command, or leave gpus_per_worker out if it fits on one"
    ]


def _wrong_training(training: TrainingConfig) -> list[str]:
    """Return a line per setting that the `Trainer` would refuse once the training begins, hours later."""
    default = TrainingConfig()
    if all(getattr(training, name) == getattr(default, name) for name in JUDGED_BY_THE_TRAINER):
        return []
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        from adaptinf.training.arguments import complaints

        return complaints(training)
