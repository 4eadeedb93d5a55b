"""A finished run as one record: enough to make every table and test again without its folder.

Shapes: S skills, T rows of the skill matrix (row 0 = base model).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adaptinf.errors import StoreError
from adaptinf.storage import tables
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

MATRIX_DIGITS = 6
"""Of accuracies, which are in 0..1."""
THOUSAND = 1000
"""Scores of test items are kept in thousandths where they are not all 0 or 1."""
UNSCORED = -1
"""Stands among thousandths for an item that its metric could not score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemScores:
    """One skill's test items after the last step, in the order of their ids."""

    digest: str
    """Stands for ids and right answers: two runs with the same one answered the same items."""
    scores: np.ndarray
    """One score an item, 0..1, to three decimals."""

    def packed(self) -> dict[str, Any]:
        """Return a value for JSON: bits as hexadecimal digits where all scores are 0 or 1, else thousandths."""
        if np.isin(self.scores, (0.0, 1.0)).all():
            bits = np.packbits(self.scores.astype(np.uint8)).tobytes().hex()
            return {"digest": self.digest, "items": len(self.scores), "bits": bits}
        whole = np.where(np.isfinite(self.scores), np.rint(self.scores * THOUSAND), UNSCORED).astype(np.int64)
        return {"digest": self.digest, "items": len(whole), "thousandths": " ".join(map(str, whole.tolist()))}

    @classmethod
    def unpacked(cls, value: Mapping[str, Any]) -> ItemScores:
        """Return what `packed` packed."""
        if "bits" in value:
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(value["bits"]), np.uint8))[: value["items"]]
            return cls(digest=value["digest"], scores=bits.astype(np.float64))
        whole = np.array(value["thousandths"].split(), np.float64)
        return cls(digest=value["digest"], scores=np.where(whole == UNSCORED, np.nan, whole / THOUSAND))


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of a run."""

    dataset: str
    """Name of the dataset that arrived."""
    pool: int
    """Samples in the pool as the step found it."""
    trained: int
    """Samples trained on; those that could not be read or have no answer are not counted."""
    optimizer_steps: int
    """Of training."""
    selection_seconds: float
    """Extraction, clustering, selection and pruning; what was shared with other runs counts for each."""
    training_seconds: float
    """Training."""
    evaluation_seconds: float
    """Testing after the step."""
    agreement: float | None = None
    """Adjusted Rand index of clusters and true skills; None where either is missing."""
    rare_share: float | None = None
    """Share of the chosen samples that teach a rare skill; None where the data name no skills."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RunRecord:
    """One run as numbers: settings, skill matrix, scores of its test items, and the cost of every step."""

    name: str
    """Name of its row in the table."""
    method: str
    """Its selector."""
    seed: int
    """Its seed."""
    settings: dict[str, Any]
    """What the row changes of the stream's settings."""
    stream: str
    """Name of the stream or benchmark."""
    model: str
    """Name of the base model's folder."""
    fingerprint: str | None
    """Of the base model's files; None where they are not in a folder."""
    budget: int
    """Samples to train on in one step."""
    cap: int | None
    """Samples that the pool may hold; None: no cap."""
    skills: tuple[str, ...]
    """S names; none where no skill is tested."""
    introduced_at: np.ndarray
    """S int64, as in `Evaluation`."""
    matrix: np.ndarray
    """T x S accuracies in 0..1, NaN: not tested."""
    num_items: np.ndarray
    """S int64: test items."""
    frequency: np.ndarray
    """S shares of the stream, NaN: not known."""
    items: dict[str, ItemScores]
    """Skill -> its test items after the last step."""
    steps: tuple[StepRecord, ...]
    """The finished steps."""
    made_by: dict[str, Any]
    """Version, commit and time of the run."""

    def __repr__(self) -> str:
        tested = self.matrix[-1][np.isfinite(self.matrix[-1])] if len(self.matrix) else np.zeros(0)
        parts = [f"RunRecord({self.name!r}, seed {self.seed}: {self.method}", counted(len(self.steps), "step")]
        if len(tested):
            parts.append(f"accuracy {100.0 * tested.mean():.1f} % over {counted(len(tested), 'skill')}")
        return f"{', '.join(parts)})"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per finished step, indexed by its number.

        Columns: the fields of `StepRecord`, then one per skill with its accuracy after the step, 0 to 1, NaN where it
        was not tested. The accuracies of the base model are `matrix[0]`.
        """
        import pandas as pd

        rows = [
            {**asdict(step), **dict(zip(self.skills, self.matrix[number + 1].tolist(), strict=True))}
            for number, step in enumerate(self.steps)
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="step"))

    def _repr_html_(self) -> str:
        """Return the steps as notebooks show them."""
        return f"<p>{escape(repr(self))}</p>{self.to_pandas().to_html()}"

    def as_json(self) -> dict[str, Any]:
        """Return a value for JSON."""
        return {
            **vars(self),
            "skills": list(self.skills),
            "introduced_at": self.introduced_at.tolist(),
            "matrix": np.round(self.matrix, MATRIX_DIGITS),
            "num_items": self.num_items.tolist(),
            "frequency": np.round(self.frequency, MATRIX_DIGITS),
            "items": {skill: scores.packed() for skill, scores in self.items.items()},
            "steps": [asdict(step) for step in self.steps],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunRecord:
        """Return the record that `as_json` made a value of."""
        num_skills = len(value["skills"])
        arrays = {
            "introduced_at": np.array(value["introduced_at"], np.int64),
            "matrix": np.array(value["matrix"], np.float64).reshape(len(value["matrix"]), num_skills),
            "num_items": np.array(value["num_items"], np.int64),
            "frequency": np.array(value["frequency"], np.float64),
        }
        others = {
            "skills": tuple(value["skills"]),
            "items": {skill: ItemScores.unpacked(scores) for skill, scores in value["items"].items()},
            "steps": tuple(StepRecord(**step) for step in value["steps"]),
        }
        return cls(**{**value, **arrays, **others})


class SavedComparison(NamedTuple):
    """What a comparison.json holds."""

    environment: dict[str, Any]
    """Versions, commit, processor, threads, date."""
    rows: list[str]
    """Names of the rows in the order of the table."""
    records: list[RunRecord]
    """One per run, by name and seed."""

    def __repr__(self) -> str:
        return f"SavedComparison({counted(len(self.records), 'run')}; rows: {', '.join(self.rows) or 'none'})"


def records_text(environment: Mapping[str, Any], records: Sequence[RunRecord], rows: Sequence[str] = ()) -> str:
    """Return the JSON of a comparison: its environment, the order of its rows, and one record a line."""
    ordered = sorted(records, key=lambda record: (record.name, record.seed))
    # One line each: a second run of one seed then differs in one line, and a table of numbers is no page of lines.
    lines = ",\n".join(_line(record.as_json()) for record in ordered)
    names = list(dict.fromkeys([*rows, *(record.name for record in ordered)]))
    return f'{{"environment": {_line(environment)},\n"rows": {_line(names)},\n"records": [\n{lines}\n]}}\n'


def _line(value: Any) -> str:
    return json.dumps(tables.finite(value), ensure_ascii=False, allow_nan=False)


def read_records(path: Path) -> SavedComparison:
    """Return what a comparison.json holds.

    Raises:
        StoreError: the file is missing, damaged, or something else.
    """
    found = tables.read_json(path)
    try:
        records = [RunRecord.from_json(value) for value in found["records"]]
        return SavedComparison(dict(found["environment"]), list(found["rows"]), records)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no comparison ({error!r}); `adaptinf compare` writes one") from error
