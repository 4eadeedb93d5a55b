"""Whether a run's config.yaml can be its own: an emptied, shortened or reordered one is refused by every command."""

from __future__ import annotations

from adaptinf.config import RunConfig
from adaptinf.errors import ConfigError
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs.layout import Layout
from adaptinf.words import counted


def check_own_config(run: Layout, config: RunConfig, pinned: RunConfig | None) -> None:
    """Refuse a config.yaml that does not go with what is in its run folder.

    Args:
        run: the run folder.
        config: what its config.yaml says.
        pinned: the settings that the run's steps use; None for a run without steps.

    Raises:
        ConfigError: the file lacks the model or what wrote it, or its datasets are not those of the steps.
    """
    if run.num_begun > len(config.stream):
        raise ConfigError(
            f"{run.config_file} lists {counted(len(config.stream), 'dataset')} under stream, but "
            f"{counted(run.num_begun, 'step')} of the run have begun; bring back a copy, or put the entries back "
            f"from {run.pinned_config_file}"
        )
    has_data = pinned is not None or run.pool_folder.is_dir()
    lost_model = not config.model.path and (pinned is None or pinned.model.path)
    if config.made_by is None and (has_data or lost_model):
        raise ConfigError(f"{run.config_file} has no made_by, so no run has written it: {_way_out(run)}")
    if pinned is not None and lost_model:
        raise ConfigError(f"{run.config_file} names no model, but the run's steps have one: {_way_out(run)}")
    _check_names(run, config, pinned)


def _way_out(run: Layout) -> str:
    if run.pinned_config_file.exists():
        return f"bring back a copy, or copy {run.pinned_config_file} there, which has the settings of the steps"
    return "bring back a copy"


def _check_names(run: Layout, config: RunConfig, pinned: RunConfig | None) -> None:
    """Refuse datasets that were renamed or reordered since they joined the pool."""
    names = [dataset.name for dataset in config.stream]
    begun = [] if pinned is None else pinned.stream[: run.num_begun]
    joined = {step: dataset.name for step, dataset in enumerate(begun)}
    joined |= {dataset.index: dataset.name for dataset in stored_datasets(run.pool_folder)}
    for step, name in sorted(joined.items()):
        # A dataset after the end of the stream: an `add` was killed before it recorded it.
        if step < len(names) and names[step] != name:
            raise ConfigError(
                f"{run.config_file} has {names[step]!r} as dataset number {step} of the stream, but {name!r} joined "
                f"the pool at that place; put the names back in their former order"
            )
