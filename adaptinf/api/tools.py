"""The commands that need no run folder: look at data, a model or the machine; select from given scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from adaptinf.api.paths import PathLike, PathsLike, path_or_none, path_tuple, text_or_none, texts_or_none
from adaptinf.errors import ConfigError
from adaptinf.progress import Progress

if TYPE_CHECKING:
    from adaptinf.config import Overrides, RunConfig
    from adaptinf.doctor.dataset import Findings
    from adaptinf.doctor.inspected import Inspected
    from adaptinf.doctor.machine import Check, Checkup, OnCheck
    from adaptinf.registry.listing import PluginList
    from adaptinf.select_files import Chosen


def doctor(
    stream: PathLike | None = None,
    *,
    out: PathLike = "runs",
    settings: Overrides | None = None,
    progress: Progress | None = None,
    on_check: OnCheck | None = None,
) -> Checkup:
    """Check the environment; with a stream also whether extraction is exact with its model, its speed and duration.

    Args:
        stream: stream.yaml; None: only the environment is checked.
        out: where runs would be written, for the free disk.
        settings: settings in place of the file's.
        progress: where to report.
        on_check: called with every check as soon as it is known.

    Raises:
        ConfigError: a setting is wrong or a file is missing.
        DataError: no dataset of the stream has a good row.
        ModelError: the model cannot be loaded or measured with.
    """
    from adaptinf import config as configuration
    from adaptinf.doctor.machine import Checkup, examine, ignored
    from adaptinf.doctor.skill_tests import check_tests
    from adaptinf.runs import preflight

    if settings and stream is None:
        raise ConfigError("--set changes a setting of a stream; name its file: adaptinf doctor stream.yaml --set ...")
    config = None if stream is None else configuration.load(Path(stream), settings)
    on_check = on_check or ignored
    checks = examine(Path(out))
    for check in checks:
        on_check(check)
    if config is not None:
        # A run's own configuration may name datasets that are still to be added.
        preflight.check(config, whole_stream=config.made_by is None)
        for check in check_tests(config):
            on_check(check)
            checks.append(check)
        checks += _model_checks(config, Path(out), progress, on_check)
    return Checkup(tuple(checks))


def _model_checks(config: RunConfig, out: Path, progress: Progress | None, on_check: OnCheck) -> Sequence[Check]:
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        from adaptinf.doctor.model import check_model

        return check_model(config, out=out, progress=progress, on_check=on_check)


def validate(
    data: PathLike,
    *,
    images: PathsLike | None = None,
    format: str | None = None,
    model: PathLike | None = None,
    max_length: int | None = None,
    max_pixels: int | None = None,
    max_row_bytes: int | None = None,
    metric: str | None = None,
    options: Overrides | None = None,
    columns: Mapping[str, str] | None = None,
    subset: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    plugins: PathLike | Sequence[PathLike] = (),
    progress: Progress | None = None,
) -> Findings:
    """Read a whole dataset before any GPU time: counts, every bad row, and all that is remarkable.

    Args:
        data: a file, folder, pattern, address or hub name.
        images: folder that image paths are relative to, or several; None: the file's folder.
        format: name of the format; None: detected.
        model: Hugging Face folder or hub name, for what it makes of every sample; its weights are not loaded.
        max_length: tokens of one sample; None: the default of `model.max_length`.
        max_pixels: width times height of the largest image; None: the default of `data.max_pixels`.
        max_row_bytes: bytes of the largest row; None: the default of `data.max_row_bytes`.
        metric: name of a metric, for a test file: whether it can judge the allowed answers.
        options: options of the metric: `{"boxes": "unit"}`, or as `--set` has them, `["boxes=unit"]`.
        columns: columns of rows in no known format: `{"question": "q", "answer": "a"}`.
        subset: which of several configurations; None: the only one.
        split: which of several splits; None: the only one.
        max_rows: rows to draw at random; None: all.
        plugins: files with formats of your own.
        progress: where to report.

    Raises:
        ConfigError: there is no such metric, or it has no such option.
        DataError: the file cannot be read.
        ModelError: the model cannot be loaded.
    """
    from adaptinf import config as configuration
    from adaptinf import registry
    from adaptinf.doctor import dataset

    with registry.scope(path_tuple(plugins)):
        return dataset.validate(
            os.fspath(data),
            images=texts_or_none(images),
            format=format,
            model=text_or_none(model),
            max_length=max_length,
            max_pixels=max_pixels,
            max_row_bytes=max_row_bytes,
            metric=metric,
            options=configuration.as_settings(options),
            columns=columns,
            subset=subset,
            split=split,
            max_rows=max_rows,
            progress=progress,
        )


RANDOM_ROWS = 50
"""Rows on an HTML page if none are named."""


@overload
def inspect(
    data: PathLike,
    id: str | int | None = None,
    *,
    row: int | None = None,
    random: None = None,
    seed: int = 0,
    html: None = None,
    model: PathLike | None = None,
    images: PathsLike | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    subset: str | None = None,
    split: str | None = None,
    plugins: PathLike | Sequence[PathLike] = (),
) -> Inspected: ...


@overload
def inspect(
    data: PathLike,
    id: str | int | None = None,
    *,
    row: int | None = None,
    random: int | None = None,
    seed: int = 0,
    html: PathLike | None = None,
    model: PathLike | None = None,
    images: PathsLike | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    subset: str | None = None,
    split: str | None = None,
    plugins: PathLike | Sequence[PathLike] = (),
) -> Inspected | tuple[Inspected, ...]: ...


def inspect(
    data: PathLike,
    id: str | int | None = None,
    *,
    row: int | None = None,
    random: int | None = None,
    seed: int = 0,
    html: PathLike | None = None,
    model: PathLike | None = None,
    images: PathsLike | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    subset: str | None = None,
    split: str | None = None,
    plugins: PathLike | Sequence[PathLike] = (),
) -> Inspected | tuple[Inspected, ...]:
    """Return one sample as it is read and, with a model, as the model sees it; or several that are drawn at random.

    Args:
        data: a file, a folder, a pattern, an address that fsspec opens, or a name of the hub.
        id: id of a sample, with or without the dataset's name; the number of a row if no sample has it.
        row: number of the row, from 0, whatever the ids are.
        random: number of rows to draw instead; a tuple of samples is returned.
        seed: seed of the draw.
        html: file to write, one page with all samples; of RANDOM_ROWS random rows if none are named.
        model: Hugging Face folder or hub name.
        images: folder that image paths are relative to, or several; None: the file's folder.
        format: name of the format; None: detected.
        columns: columns of rows in no known format: {"question": "q", "answer": "a"}, also image, id and system.
        subset: which configuration, subfolder or entry of a dataset_info.json; None: the only one.
        split: which split; None: the only one.
        plugins: files with formats of your own.

    Raises:
        ConfigError: not exactly one of `id`, `row` and `random` is given.
        DataError: the file cannot be read, or has no such row.
        ModelError: the model cannot be loaded, or its chat template fits no conversation.
    """
    from adaptinf import registry
    from adaptinf.doctor.lookup import Rows, at_random
    from adaptinf.doctor.sample import inspect_found, inspect_row

    if html is not None and id is None and row is None and random is None:
        random = RANDOM_ROWS
    if sum(given is not None for given in (id, row, random)) != 1:
        raise ConfigError("name what to show: an id, or --row N, or --random N")
    path, reader = os.fspath(data), text_or_none(model)
    rows = Rows(path=path, images=texts_or_none(images), format=format, columns=columns, subset=subset, split=split)
    with registry.scope(path_tuple(plugins)):
        if random is not None:
            found = tuple(inspect_found(at_random(rows, random, seed=seed), reader))
        else:
            which = row if id is None else id
            assert which is not None, "one of them is given"
            found = (inspect_row(rows, which, model=reader),)
    if html is not None:
        from adaptinf.doctor.page import write_page

        write_page(found, Path(html), f"Samples of {path}")
    return found if random is not None else found[0]


def select(
    scores: PathLike | None = None,
    *,
    budget: int,
    out: PathLike | None = None,
    vectors: PathLike | None = None,
    embeddings: PathLike | None = None,
    method: str = "adapt",
    options: Overrides | None = None,
    clusters: int | str | None = None,
    labels: str = "cluster",
    ids: str = "id",
    seed: int = 0,
    plugins: PathLike | Sequence[PathLike] = (),
) -> Chosen:
    """Select from files of scores and vectors, without a model; `selection.select` does the same for arrays.

    Args:
        scores: Parquet table of ids with one column of numbers per score; None: the ids are row numbers.
        budget: samples to select.
        out: new folder for ids.txt, selection.parquet, clusters.parquet and info.json; None: nothing is written.
        vectors: .npy file, one row per sample in the table's order.
        embeddings: .npy file, likewise.
        method: name of a selector.
        options: options of the method: `{"sampling": "top"}`, or as `--set` has them, `["sampling=top"]`.
        clusters: number of clusters for k-means, or auto, the knee; None: the method's own default.
        labels: column of the table with clusters, if it has one.
        ids: column of the table with ids.
        seed: seed of clusters and draws.
        plugins: files with selectors of your own.

    Raises:
        ConfigError: an unknown method or option, an input that the method needs and did not get, or `out` exists.
        DataError: a file cannot be read, or the files do not fit together.
    """
    from adaptinf import config as configuration
    from adaptinf.select_files import Request, choose, choose_into

    request = Request(
        scores=path_or_none(scores),
        vectors=path_or_none(vectors),
        embeddings=path_or_none(embeddings),
        id_column=ids,
        label_column=labels,
        plugins=path_tuple(plugins),
        budget=budget,
        method=method,
        options=configuration.as_settings(options),
        clusters=int(clusters) if isinstance(clusters, str) and clusters.isdecimal() else clusters,
        seed=seed,
    )
    return choose(request) if out is None else choose_into(Path(out), request)


def list_plugins(*, plugins: PathLike | Sequence[PathLike] = ()) -> PluginList:
    """Return formats, scorers, selectors, metrics and executors: built-in, of installed packages, and of your files.

    Raises:
        ConfigError: a file of `plugins` cannot be loaded.
    """
    from adaptinf import registry
    from adaptinf.registry.listing import plugin_list

    with registry.scope(path_tuple(plugins)):
        return plugin_list()
