"""Ground: the records that travel between stages, and how each lies on disk.

Shapes: N samples, D vector dims, H embedding dims, K clusters, S skills, T rows of the skill matrix (row 0 = base
model).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np

from adaptinf.storage import store, tables
from adaptinf.storage.tables import Columns


class Block(TypedDict):
    """One piece of a message: an image (in the order of `Sample.images`) or a text."""

    type: str
    text: str | None


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: list[Block]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One whole conversation: one or more turns, no, one or many images."""

    id: str
    """`<source>/<own id>`, unique in a pool."""
    source: str
    """Name of the dataset it came with."""
    messages: tuple[Message, ...]
    """The turns; roles are system, user and assistant."""
    images: tuple[Path, ...] = ()
    """Image files, one for each image block, in order."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else the row carried (skill, task, ...): for measuring; only oracle looks at the skill."""
    notes: tuple[str, ...] = ()
    """What the reader had to repair, in words."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that cannot become a sample, and why."""

    file: str
    """The file the row stands in."""
    row: int
    """0-based number of the row in its file; -1 when the file as a whole is meant."""
    reason: str
    """What is wrong, in words, with the value."""
    id: str = ""
    """The id it would have had; empty where the file as a whole is meant."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What extraction measured: one vector, one embedding and one score per scorer for every sample."""

    stage: ClassVar[str] = "features"
    SCORES: ClassVar[str] = "scores.parquet"
    VECTORS: ClassVar[str] = "vectors.npy"
    EMBEDDINGS: ClassVar[str] = "embeddings.npy"

    ids: np.ndarray
    """N ids (object array of str), sorted."""
    vectors: np.ndarray
    """N x D fp16, unit norm; zero rows for unscored samples. Empty (N x 0) once dropped by `extraction.keep: last`."""
    embeddings: np.ndarray
    """N x H fp16."""
    scores: dict[str, np.ndarray]
    """Scorer name -> N float64; NaN = unscored."""
    info: dict[str, Any]
    """Who made it: model fingerprint, layer, dim, seed, counts."""

    def save(self, folder: Path) -> None:
        """Write scores.parquet and info.json, and the arrays unless extraction has left them in the folder already."""
        for name, array in ((self.VECTORS, self.vectors), (self.EMBEDDINGS, self.embeddings)):
            if not (folder / name).exists():
                tables.write_array(folder / name, array)
        tables.write_table(folder / self.SCORES, {"id": self.ids, **self.scores})
        arrays = {"rows": len(self.ids), "dim": self.vectors.shape[1], "embedding_dim": self.embeddings.shape[1]}
        tables.write_json(folder / store.INFO, {**self.info, **arrays, "dtype": "float16"})

    @classmethod
    def load(cls, folder: Path) -> Features:
        """Return the saved features, arrays memory-mapped."""
        scores = tables.read_table(folder / cls.SCORES)
        ids = scores.pop("id")
        arrays = [
            tables.read_array(path) if path.exists() else np.zeros((len(ids), 0), np.float16)
            for path in (folder / cls.VECTORS, folder / cls.EMBEDDINGS)
        ]
        info = tables.read_json(folder / store.INFO)
        return cls(ids=ids, vectors=arrays[0], embeddings=arrays[1], scores=scores, info=info)

    @classmethod
    def drop_arrays(cls, folder: Path) -> None:
        """Remove the saved vectors and embeddings; scores and info stay."""
        for name in (cls.VECTORS, cls.EMBEDDINGS):
            (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Step 1: pseudo-skill clusters."""

    stage: ClassVar[str] = "clusters"
    CENTERS: ClassVar[str] = "centers.npy"
    ASSIGNMENTS: ClassVar[str] = "assignments.parquet"

    labels: np.ndarray
    """N int64, 0..K-1; -1 for a sample without a vector."""
    centers: np.ndarray
    """K x D float32."""
    distances: np.ndarray
    """N float32, Euclidean distance to the own center; NaN where the label is -1."""
    ids: np.ndarray = field(default_factory=lambda: tables.text_array([]))
    """N ids, in the order of the rows that were clustered."""
    info: dict[str, Any] = field(default_factory=dict)
    """How K was found: candidate numbers of clusters, their inertia, the knee."""

    def table(self) -> Columns:
        """Return one row per sample: id, cluster, distance."""
        return {"id": self.ids, "cluster": self.labels, "distance": self.distances}

    def save(self, folder: Path) -> None:
        """Write centers.npy, assignments.parquet and info.json."""
        tables.write_array(folder / self.CENTERS, self.centers)
        tables.write_table(folder / self.ASSIGNMENTS, self.table())
        shape = {"rows": len(self.labels), "clusters": len(self.centers), "dtype": str(self.centers.dtype)}
        tables.write_json(folder / store.INFO, {**self.info, **shape})

    @classmethod
    def load(cls, folder: Path) -> Clusters:
        """Return the saved clusters."""
        rows = tables.read_table(folder / cls.ASSIGNMENTS)
        return cls(
            labels=rows["cluster"],
            centers=np.array(tables.read_array(folder / cls.CENTERS)),
            distances=rows["distance"],
            ids=rows["id"],
            info=tables.read_json(folder / store.INFO),
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Step 2: the samples to train on."""

    stage: ClassVar[str] = "selection"
    SAMPLES: ClassVar[str] = "selection.parquet"
    CLUSTERS: ClassVar[str] = "clusters.parquet"

    indices: np.ndarray
    """Chosen row numbers, ascending, int64; exactly min(budget, N) of them."""
    ids: np.ndarray
    """Their ids, in the same order."""
    table: Columns
    """One row a chosen sample, in the same order: id, cluster, scorer, score, bin (-1: none), rank in its cluster."""
    clusters: Columns
    """One row a cluster: cluster, size, budget, scorer, entropy_<scorer>, and joint where the method joins clusters.

    No rows for methods without clusters.
    """

    def save(self, folder: Path) -> None:
        """Write selection.parquet and clusters.parquet."""
        tables.write_table(folder / self.SAMPLES, self.table)
        tables.write_table(folder / self.CLUSTERS, self.clusters)
        rows = {"rows": len(self.ids), "clusters": len(self.clusters["cluster"])}
        tables.write_json(folder / store.INFO, rows)

    @classmethod
    def load(cls, folder: Path) -> Selection:
        """Return the saved selection; `indices` count within it, as the pool's row numbers are not saved."""
        table = tables.read_table(folder / cls.SAMPLES)
        clusters = tables.read_table(folder / cls.CLUSTERS)
        return cls(indices=np.arange(len(table["id"])), ids=table["id"], table=table, clusters=clusters)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Step 3: what leaves the pool."""

    kept: np.ndarray
    """Row numbers that stay, ascending, int64; exactly min(cap, N) of them."""
    removed: np.ndarray
    """Row numbers that leave, in the order of removal, int64."""
    neighbour: np.ndarray
    """Row number of the sample that `removed[i]` was most like; -1 where there is none."""
    similarity: np.ndarray
    """float32 cosine of `removed[i]` and its neighbour; NaN where there is none."""

    def in_rows(self, rows: np.ndarray, num_rows: int) -> Pruning:
        """Return the pruning of `rows` (ascending) as one of all `num_rows` rows, of which the others stay."""
        removed = rows[self.removed]
        neighbour = np.where(self.neighbour >= 0, rows[self.neighbour] if len(rows) else -1, -1).astype(np.int64)
        kept = np.setdiff1d(np.arange(num_rows, dtype=np.int64), removed, assume_unique=True)
        return Pruning(kept=kept, removed=removed, neighbour=neighbour, similarity=self.similarity)

    def table(self, ids: np.ndarray, labels: np.ndarray) -> Columns:
        """Return pruned.parquet's columns: id, cluster, neighbour (id or empty), neighbour_stayed, similarity."""
        has_neighbour = self.neighbour >= 0
        neighbours = np.where(has_neighbour, ids[self.neighbour], "") if len(ids) else tables.text_array([])
        return {
            "id": tables.text_array(ids[self.removed]),
            "cluster": np.asarray(labels)[self.removed].astype(np.int64),
            "neighbour": tables.text_array(neighbours),
            "neighbour_stayed": has_neighbour & np.isin(self.neighbour, self.kept),
            "similarity": self.similarity.astype(np.float32),
        }


@dataclass(frozen=True, kw_only=True)
class SavedPruning:
    """What a step pruned, as it lies in the run folder: by id, without the samples that stay."""

    stage: ClassVar[str] = "pruning"
    SAMPLES: ClassVar[str] = "pruned.parquet"

    table: Columns
    """Columns of pruned.parquet: id, cluster, neighbour, neighbour_stayed, similarity."""
    num_kept: int
    """Samples that the pool holds afterwards."""

    @property
    def num_found(self) -> int:
        """Samples that the step found in the pool."""
        return self.num_kept + len(self.table["id"])

    def save(self, folder: Path) -> None:
        """Write pruned.parquet and info.json."""
        tables.write_table(folder / self.SAMPLES, self.table)
        tables.write_json(folder / store.INFO, {"rows": len(self.table["id"]), "kept": self.num_kept})

    @classmethod
    def load(cls, folder: Path) -> SavedPruning:
        """Return the saved table."""
        info = tables.read_json(folder / store.INFO)
        return cls(table=tables.read_table(folder / cls.SAMPLES), num_kept=info["kept"])


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training stage. The weights lie in its folder: a PEFT adapter, or a whole model with its processor."""

    stage: ClassVar[str] = "model"
    LOG: ClassVar[str] = "trainer_log.json"

    log: list[dict[str, Any]] = field(default_factory=list)
    """The Trainer's own log: loss, learning rate, gradient norm by step."""
    info: dict[str, Any] = field(default_factory=dict)
    """Samples trained, optimiser steps, final loss, what was left out."""

    def save(self, folder: Path) -> None:
        """Write trainer_log.json and info.json beside the weights."""
        tables.write_json(folder / self.LOG, self.log)
        tables.write_json(folder / store.INFO, self.info)

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """Return the saved log; weights are loaded by `adaptinf.models`."""
        return cls(log=tables.read_json(folder / cls.LOG), info=tables.read_json(folder / store.INFO))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The skill matrix so far, and the predictions behind its last row."""

    stage: ClassVar[str] = "evaluation"
    MATRIX: ClassVar[str] = "matrix.json"
    PREDICTIONS: ClassVar[str] = "predictions.parquet"

    skills: tuple[str, ...]
    """S skill names."""
    introduced_at: np.ndarray
    """S int64: first step whose dataset teaches the skill; -1: known to the base."""
    matrix: np.ndarray
    """T x S accuracies in 0..1; row 0 = base model, row t+1 = after step t; NaN = not tested."""
    num_items: np.ndarray
    """S int64: test items of each skill."""
    frequency: np.ndarray
    """S float64: share of the stream's labelled samples that teach the skill; NaN when the data carry no skills."""
    predictions: Columns
    """One row per test item: skill, id, prediction, answer, score."""
    rejected: tuple[dict[str, Any], ...] = ()
    """Rows of the test files that cannot be used, with skill, file, row and reason."""

    def save(self, folder: Path) -> None:
        """Write predictions.parquet, matrix.json and, if rows were rejected, rejected.jsonl."""
        (folder / store.REJECTED).unlink(missing_ok=True)  # left by an attempt that was killed
        for line in self.rejected:
            store.append_line(folder / store.REJECTED, line)
        tables.write_table(folder / self.PREDICTIONS, self.predictions)
        matrix = {
            "skills": list(self.skills),
            "introduced_at": self.introduced_at,
            "scores": self.matrix,
            "num_items": self.num_items,
            "frequency": self.frequency,
        }
        tables.write_json(folder / self.MATRIX, matrix)

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Return the saved evaluation."""
        saved = tables.read_json(folder / cls.MATRIX)
        num_skills = len(saved["skills"])
        return cls(
            skills=tuple(saved["skills"]),
            introduced_at=np.array(saved["introduced_at"], dtype=np.int64),
            matrix=np.array(saved["scores"], dtype=np.float64).reshape(-1, num_skills),
            num_items=np.array(saved["num_items"], dtype=np.int64),
            frequency=np.array(saved["frequency"], dtype=np.float64),
            predictions=tables.read_table(folder / cls.PREDICTIONS),
            rejected=tuple(store.read_lines(folder / store.REJECTED)),
        )


ARTIFACTS: tuple[type[store.Artifact], ...] = (Features, Clusters, Selection, Trained, Evaluation, SavedPruning)
"""What the stages of a step return, in the order they are made; every step writes the last one."""
