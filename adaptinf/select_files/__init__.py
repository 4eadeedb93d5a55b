"""adaptinf select: selection from files alone: scores and vectors in, selected ids out, without model and torch.

Shapes: N samples, D vector dims, H embedding dims.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xxhash

from adaptinf import __version__, registry
from adaptinf.data import Selection
from adaptinf.errors import ConfigError, DataError
from adaptinf.select_files.array_files import broken_rows, named, read_rows
from adaptinf.select_files.centers import centers_of
from adaptinf.select_files.score_table import ScoreTable, numbered_rows, read_scores
from adaptinf.selection import auto_settings, known_options, select, with_options
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.storage import drafts, store, tables
from adaptinf.storage.display import as_html

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("numpy", "pyarrow", "scikit-learn", "xxhash")
"""Libraries that the selection may depend on; info.json has their versions."""
READ_BYTES = 2**22
"""Bytes of a file that are read at a time for its digest."""
WAY_OUT = {
    "scores": "give a table with a column of numbers for each score",
    "labels": "give --vectors, or a column of clusters",
    "vectors": "give --vectors FILE.npy",
    "embeddings": "give --embeddings FILE.npy",
    "centers": "give --vectors FILE.npy",
    "distances": "give --vectors FILE.npy",
    "arrived": "give a column `arrived` with the step at which each sample arrived",
    "skills": "give a column `skill`",
    "history": "only the steps of a run know it",
    "targets": "only a run measures them (selection.targets)",
}
"""Input that a method needs -> what to do if it is missing."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The inputs and settings of a selection."""

    scores: Path | None = None
    """Parquet table of ids, scores and other columns; without it the ids are the row numbers of the arrays."""
    vectors: Path | None = None
    """N x D, .npy, rows in the order of the table."""
    embeddings: Path | None = None
    """N x H, .npy, rows in the order of the table."""
    id_column: str = "id"
    """Column of the table with the ids."""
    label_column: str = "cluster"
    """Column of the table with the clusters; may be absent if it is the default."""
    plugins: tuple[Path, ...] = ()
    """Files with selectors of the user."""
    budget: int
    """Number of samples to select."""
    method: str = "adapt"
    """Name of a selector."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the method. Default of `scorers`: the four of the paper if the table has all four, otherwise all."""
    clusters: str | int | None = None
    """Number of clusters for k-means, if the method needs clusters and the table has none: a number or `auto` (knee);
    None: the default of the method."""
    seed: int = 0
    """Seed of k-means and of random draws."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A selection and how it was made."""

    selection: Selection
    """The selected rows."""
    info: dict[str, Any]
    """What info.json holds: method, counts, versions, the digests of the files."""
    folder: Path | None = None
    """Where it was written; None: nowhere."""

    def __repr__(self) -> str:
        where = "" if self.folder is None else f", in {str(self.folder)!r}"
        return f"Chosen({self.info['chosen']:,} of {self.info['pool']:,} samples by {self.info['method']}{where})"

    @property
    def ids(self) -> np.ndarray:
        """Ids of the chosen samples."""
        return self.selection.ids

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per chosen sample: `id`, `cluster`, `scorer`, `score`, `bin`, `rank`."""
        return self.selection.to_pandas()

    def _repr_html_(self) -> str:
        """Return the chosen samples as notebooks show them."""
        return as_html(repr(self), self.to_pandas())

    def save(self, folder: Path) -> None:
        """Write ids.txt (one id per line), selection.parquet, clusters.parquet and info.json."""
        self.selection.save(folder)
        (folder / "ids.txt").write_text("".join(f"{name}\n" for name in self.selection.ids), encoding="utf-8")
        tables.write_json(folder / store.INFO, self.info)


class Clustered(NamedTuple):
    """The clusters that `select` gets."""

    inputs: dict[str, np.ndarray]
    """labels, and centers and distances if the method needs them."""
    info: dict[str, Any]
    """How the clusters were found, for info.json."""


def choose_into(out: Path, request: Request) -> Chosen:
    """Select, write the folder `out`, and return its content.

    Raises:
        ConfigError: `out` exists; or as `choose`.
        DataError: as `choose`.
    """
    drafts.refuse_existing(out)
    chosen = choose(request)
    with drafts.new_folder(out) as part:
        chosen.save(part)
    return replace(chosen, folder=out)


def choose(request: Request) -> Chosen:
    """Return min(budget, N) samples: those that `cluster` and `select` give for the arrays of the files and this seed.

    Raises:
        ConfigError: unknown method or option, or an input that the method needs is missing.
        DataError: a file cannot be read, or the files do not fit together.
    """
    with registry.scope(request.plugins):
        return _choose(request)


def _choose(request: Request) -> Chosen:
    with_options(request.method, request.options)  # before anything large is read
    if request.budget == 0:
        raise ConfigError("--budget 0 selects nothing; give a number of samples")
    table, arrays = _read(request)
    broken = broken_rows(arrays, {"vectors": request.vectors, "embeddings": request.embeddings})
    options = {**_default_scorers(request.method, table), **request.options}
    needs = set(registry.selector[request.method].needs)
    needs |= {"centers", "distances"} if options.get("budgets") == "density" else set()

    _check_scores(request, table, needs)
    clustered = _without_cluster(_clusters(request, table, arrays, needs), broken, len(table.ids))
    known: dict[str, Any] = {"scores": table.scores, "arrived": table.arrived, "skills": table.skills}
    given = {name: value for name, value in {**known, **arrays, **clustered.inputs}.items() if value is not None}
    _check_needs(request.method, needs, set(given) - ({"scores"} if not table.scores else set()))
    # Only inputs that the method needs: sorting the others may take too much memory.
    wanted = {name: value for name, value in given.items() if name in needs}
    selection = select(
        given["scores"], given.get("labels"), table.ids, request.budget,
        method=request.method, seed=request.seed,
        **{name: value for name, value in wanted.items() if name not in ("scores", "labels")}, **options,
    )  # fmt: skip
    return Chosen(selection=selection, info=_info(request, options, table, clustered, broken, selection))


def _read(request: Request) -> tuple[ScoreTable, dict[str, np.ndarray]]:
    """Return the table and the memory-mapped arrays, one row per sample."""
    paths = {"vectors": request.vectors, "embeddings": request.embeddings}
    arrays = {name: read_rows(path, name) for name, path in paths.items() if path is not None}
    if request.scores is not None:
        table = read_scores(request.scores, id_column=request.id_column, label_column=request.label_column)
    elif arrays:
        table = numbered_rows(len(next(iter(arrays.values()))))
    else:
        raise ConfigError("there is nothing to select from; give a table of scores, --vectors or --embeddings")
    for name, array in arrays.items():
        if len(array) != len(table.ids):
            raise DataError(
                f"{paths[name]} has {len(array):,} rows, {request.scores or request.vectors} has {len(table.ids):,}; "
                "give both with one row per sample, in the same order"
            )
    return table, arrays


def _default_scorers(method: str, table: ScoreTable) -> dict[str, list[str]]:
    """Return the default of the option `scorers`, with names of the table only; {} if the method has no such option."""
    if "scorers" not in known_options(method) or not table.scores:
        return {}
    return {"scorers": list(PAPER_SCORERS if set(PAPER_SCORERS) <= set(table.scores) else table.scores)}


def _clusters(request: Request, table: ScoreTable, arrays: dict[str, np.ndarray], needs: set[str]) -> Clustered:
    """Return the clusters of the table; otherwise of the vectors, or of the embeddings; otherwise a single cluster."""
    rows = arrays.get("vectors", arrays.get("embeddings"))
    if table.labels is not None:
        found = {"labels": table.labels}
        if "vectors" in arrays and {"centers", "distances"} & needs:
            found |= centers_of(arrays["vectors"], table.labels, table.ids)
        names = {"names": table.label_names} if table.label_names else {}
        _refuse_clusters(request, f"the table has clusters in column {request.label_column!r}")
        return Clustered(found, {"found": f"column {request.label_column!r}", **names})
    if not {"labels", "centers", "distances"} & needs:
        _refuse_clusters(request, f"{request.method} needs no clusters")
        return Clustered({}, {"found": "not asked for"})
    if rows is None:
        _refuse_clusters(request, "there are no --vectors to cluster")
        return Clustered({"labels": np.zeros(len(table.ids), dtype=np.int64)}, {"found": "one cluster of everything"})

    from adaptinf.clustering import cluster  # imports scikit-learn, which takes a second

    wanted = auto_settings(request.method)["clustering.clusters"] if request.clusters is None else request.clusters
    clusters = cluster(rows, ids=table.ids, clusters=wanted, seed=request.seed)
    found = {"labels": clusters.labels, "distances": clusters.distances, "centers": clusters.centers}
    source = "vectors" if "vectors" in arrays else "embeddings"
    asked = request.clusters if isinstance(request.clusters, int) else None
    info = {"found": f"k-means on {source}", "asked": asked, "clusters": len(clusters.centers), **clusters.info}
    return Clustered(found, info)


def _without_cluster(clustered: Clustered, broken: dict[str, np.ndarray], num_rows: int) -> Clustered:
    """Return the clusters without the rows that are not finite, so that these are selected last."""
    if not broken:
        return clustered
    labels = clustered.inputs.get("labels", np.zeros(num_rows, dtype=np.int64)).copy()
    labels[np.concatenate(list(broken.values()))] = -1
    return Clustered({**clustered.inputs, "labels": labels}, clustered.info)


def _check_scores(request: Request, table: ScoreTable, needs: set[str]) -> None:
    """Refuse a table without any finite score, where a method chooses by scores.

    Raises:
        DataError: with the number of rows.
    """
    if "scores" in needs and table.scores and not any(np.isfinite(score).any() for score in table.scores.values()):
        count = f"{len(table.ids):,} of {len(table.ids):,} rows"
        raise DataError(
            f"{request.scores}: {count} have no finite score in {', '.join(table.scores)}; measure them again, or "
            "choose a --method without scores"
        )


def _refuse_clusters(request: Request, reason: str) -> None:
    if request.clusters is not None:
        raise ConfigError(f"--clusters {request.clusters} cannot be used: {reason}; leave it out")


def _check_needs(method: str, needs: set[str], given: set[str]) -> None:
    missing = sorted(needs - given)
    if missing:
        able = [name for name in registry.selector.names() if registry.selector[name].needs <= given]
        raise ConfigError(
            f"{method} needs {' and '.join(missing)}: {WAY_OUT[missing[0]]}; "
            f"or choose a --method that does not need it: {', '.join(able)}"
        )


def _info(
    request: Request,
    options: dict[str, Any],
    table: ScoreTable,
    clustered: Clustered,
    broken: dict[str, np.ndarray],
    selection: Selection,
) -> dict[str, Any]:
    files = [request.scores, request.vectors, request.embeddings, *request.plugins]
    return {
        "method": request.method,
        "options": options,
        "budget": request.budget,
        "seed": request.seed,
        "pool": len(table.ids),
        "chosen": len(selection.ids),
        "not_finite": {name: int((~np.isfinite(score)).sum()) for name, score in table.scores.items()},
        "not_finite_rows": named(broken, table.ids),
        "ignored_columns": table.ignored,
        "clusters": clustered.info,
        "sources": _by_source(table.sources, selection.indices),
        "inputs": {str(path): _digest(path) for path in files if path is not None},
        "made_by": {"adaptinf": __version__, **{name: version(name) for name in PACKAGES}},
        "utc_time": store.utc_now(),
    }


def _by_source(sources: np.ndarray | None, chosen: np.ndarray) -> dict[str, dict[str, int]]:
    if sources is None:
        return {}
    pool, selected = Counter(sources.tolist()), Counter(sources[chosen].tolist())
    return {name: {"pool": count, "chosen": selected[name]} for name, count in sorted(pool.items())}


def _digest(path: Path) -> dict[str, Any]:
    """Return the size and the xxh3 hash of a file."""
    digest = xxhash.xxh3_64()
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return {"bytes": path.stat().st_size, "xxh3": digest.hexdigest()}
