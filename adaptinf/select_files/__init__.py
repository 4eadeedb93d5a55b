"""Selection alone, from files: somebody else's scores and vectors in, chosen ids out; no model and no torch.

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
from adaptinf.arrays.tiles import as_rows
from adaptinf.data import Selection
from adaptinf.errors import ConfigError, DataError
from adaptinf.select_files.centers import centers_of
from adaptinf.select_files.score_table import ScoreTable, numbered_rows, read_scores
from adaptinf.selection import auto_settings, known_options, select, with_options
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.storage import store, tables
from adaptinf.storage.display import as_html

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("numpy", "pyarrow", "scikit-learn", "xxhash")
"""Libraries that a selection may depend on; info.json has their versions."""
READ_BYTES = 2**22
"""A file is digested so many bytes at a time."""
WAY_OUT = {
    "scores": "give a table with a column of numbers for each score",
    "labels": "give --vectors, or a column of clusters",
    "vectors": "give --vectors FILE.npy",
    "embeddings": "give --embeddings FILE.npy",
    "centers": "give --vectors FILE.npy",
    "distances": "give --vectors FILE.npy",
    "arrived": "give a column `arrived` with the step at which each sample came",
    "skills": "give a column `skill`",
}
"""What to do about an input that the method needs and that is not there."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to choose from, and how."""

    scores: Path | None = None
    """Parquet table of ids, scores and what else is known; without it the ids are the row numbers of the arrays."""
    vectors: Path | None = None
    """N x D, .npy, rows in the order of the table."""
    embeddings: Path | None = None
    """N x H, .npy, rows in the order of the table."""
    id_column: str = "id"
    """Of the table."""
    label_column: str = "cluster"
    """Of the table; may be absent if it is the default."""
    plugins: tuple[Path, ...] = ()
    """The user's selectors."""
    budget: int
    """Samples to choose."""
    method: str = "adapt"
    """Name of a selector."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the method. Without `scorers` it gets the paper's four if the table has them all, else every score."""
    clusters: str | int | None = None
    """Of k-means, where the method needs clusters and the table has none: a number or `auto`, the knee; None: what the
    method wants."""
    seed: int = 0
    """Of clusters and draws."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A selection and how it came about."""

    selection: Selection
    """The chosen rows."""
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
        """Write ids.txt (one id a line), selection.parquet, clusters.parquet and info.json."""
        self.selection.save(folder)
        (folder / "ids.txt").write_text("".join(f"{name}\n" for name in self.selection.ids), encoding="utf-8")
        tables.write_json(folder / store.INFO, self.info)


class Clustered(NamedTuple):
    """What `select` knows of clusters."""

    inputs: dict[str, np.ndarray]
    """labels, and where the method needs them centers and distances."""
    info: dict[str, Any]
    """How the clusters were found."""


def choose_into(out: Path, request: Request) -> Chosen:
    """Choose, write the folder `out`, and return what it holds.

    Raises:
        ConfigError: `out` exists; or as `choose`.
        DataError: as `choose`.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another --out, or delete it")
    chosen = choose(request)
    chosen.save(store.begin(out))
    store.finish(out)
    return replace(chosen, folder=out)


def choose(request: Request) -> Chosen:
    """Return min(budget, N) samples: the same as `cluster` and `select` give for the files' arrays and this seed.

    Raises:
        ConfigError: an unknown method or option, or an input that the method needs and did not get.
        DataError: a file cannot be read, or the files do not fit together.
    """
    with registry.scope(request.plugins):
        return _choose(request)


def _choose(request: Request) -> Chosen:
    with_options(request.method, request.options)  # before anything large is read
    table, arrays = _read(request)
    options = {**_default_scorers(request.method, table), **request.options}
    needs = set(registry.selector[request.method].needs)
    needs |= {"centers", "distances"} if options.get("budgets") == "density" else set()

    clustered = _clusters(request, table, arrays, needs)
    known: dict[str, Any] = {"scores": table.scores, "arrived": table.arrived, "skills": table.skills}
    given = {name: value for name, value in {**known, **arrays, **clustered.inputs}.items() if value is not None}
    _check_needs(request.method, needs, set(given) - ({"scores"} if not table.scores else set()))
    # Only what the method asks for: others may be too large to be put in order.
    wanted = {name: value for name, value in given.items() if name in needs}
    selection = select(
        given["scores"], given.get("labels"), table.ids, request.budget,
        method=request.method, seed=request.seed,
        **{name: value for name, value in wanted.items() if name not in ("scores", "labels")}, **options,
    )  # fmt: skip
    return Chosen(selection=selection, info=_info(request, options, table, clustered, selection))


def _read(request: Request) -> tuple[ScoreTable, dict[str, np.ndarray]]:
    """Return the table and the arrays, memory-mapped, one row per sample."""
    paths = {"vectors": request.vectors, "embeddings": request.embeddings}
    arrays = {name: _read_rows(path, name) for name, path in paths.items() if path is not None}
    if request.scores is not None:
        table = read_scores(request.scores, id_column=request.id_column, label_column=request.label_column)
    elif arrays:
        table = numbered_rows(len(next(iter(arrays.values()))))
    else:
        raise ConfigError("nothing to select from; give a table of scores, --vectors or --embeddings")
    for name, array in arrays.items():
        if len(array) != len(table.ids):
            raise DataError(
                f"{paths[name]} has {len(array):,} rows, {request.scores or request.vectors} has {len(table.ids):,}; "
                "both need one row per sample, in the same order"
            )
    return table, arrays


def _read_rows(path: Path, name: str) -> np.ndarray:
    try:
        return as_rows(np.load(path, mmap_mode="r", allow_pickle=False), str(path))
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"--{name} {path} cannot be read as a .npy array: {error}") from error


def _default_scorers(method: str, table: ScoreTable) -> dict[str, list[str]]:
    """Return the scorers that a method chooses from where nobody says: never a name that the table does not have."""
    if "scorers" not in known_options(method) or not table.scores:
        return {}
    return {"scorers": list(PAPER_SCORERS if set(PAPER_SCORERS) <= set(table.scores) else table.scores)}


def _clusters(request: Request, table: ScoreTable, arrays: dict[str, np.ndarray], needs: set[str]) -> Clustered:
    """Return the table's clusters; else those of the vectors, or of the embeddings; else one of everything."""
    rows = arrays.get("vectors", arrays.get("embeddings"))
    if table.labels is not None:
        found = {"labels": table.labels}
        if "vectors" in arrays and {"centers", "distances"} & needs:
            found |= centers_of(arrays["vectors"], table.labels, table.ids)
        names = {"names": table.label_names} if table.label_names else {}
        _refuse_clusters(request, f"the table has them in column {request.label_column!r}")
        return Clustered(found, {"found": f"column {request.label_column!r}", **names})
    if not {"labels", "centers", "distances"} & needs:
        _refuse_clusters(request, f"{request.method} needs none")
        return Clustered({}, {"found": "not asked for"})
    if rows is None:
        _refuse_clusters(request, "there are no --vectors to find them in")
        return Clustered({"labels": np.zeros(len(table.ids), dtype=np.int64)}, {"found": "one cluster of everything"})

    from adaptinf.clustering import cluster  # scikit-learn takes a second, and most methods on a table do without

    wanted = auto_settings(request.method)["clustering.clusters"] if request.clusters is None else request.clusters
    clusters = cluster(rows, ids=table.ids, clusters=wanted, seed=request.seed)
    found = {"labels": clusters.labels, "distances": clusters.distances, "centers": clusters.centers}
    source = "vectors" if "vectors" in arrays else "embeddings"
    info = {"found": f"k-means on {source}", "clusters": len(clusters.centers), **clusters.info}
    return Clustered(found, info)


def _refuse_clusters(request: Request, reason: str) -> None:
    if request.clusters is not None:
        raise ConfigError(f"--clusters {request.clusters}, but {reason}; leave it out")


def _check_needs(method: str, needs: set[str], given: set[str]) -> None:
    missing = sorted(needs - given)
    if missing:
        able = [name for name in registry.selector.names() if registry.selector[name].needs <= given]
        raise ConfigError(
            f"{method} needs {' and '.join(missing)}: {WAY_OUT[missing[0]]}; "
            f"or choose a --method that does without: {', '.join(able)}"
        )


def _info(
    request: Request, options: dict[str, Any], table: ScoreTable, clustered: Clustered, selection: Selection
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
    there, taken = Counter(sources.tolist()), Counter(sources[chosen].tolist())
    return {name: {"pool": count, "chosen": taken[name]} for name, count in sorted(there.items())}


def _digest(path: Path) -> dict[str, Any]:
    """Return the size and the xxh3 of a file."""
    digest = xxhash.xxh3_64()
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return {"bytes": path.stat().st_size, "xxh3": digest.hexdigest()}
