"""The record of a finished run: enough to make every table and test again without its folder.

Shapes: S skills, T rows of the skill matrix (row 0 = base model).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adaptinf.data.evaluation import accepted_rows, since_breaks
from adaptinf.errors import StoreError
from adaptinf.results.items import ItemScores
from adaptinf.selection.traits import Traits, traits_of
from adaptinf.storage import tables
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

MATRIX_DIGITS = 6
"""Decimals of accuracies, which are in 0..1."""
SELDOM = ("breaks", "changes", "rejected", "gates")
"""Fields of a record that are written only where there is something to say."""
HF = "hf"
"""The engine of evaluations that name none: those of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of a run."""

    dataset: str
    """Name of the dataset that arrived."""
    pool: int
    """Samples in the pool at the start of the step."""
    trained: int
    """Samples trained on, without those that could not be read or have no answer token."""
    optimizer_steps: int | None
    """Optimizer steps of training; None: a trainer of the user's did not say."""
    selection_seconds: float
    """Seconds of extraction, clustering, selection and pruning; shared stages count for each run."""
    training_seconds: float
    """Seconds of training."""
    evaluation_seconds: float
    """Seconds of the evaluation after the step."""
    agreement: float | None = None
    """Adjusted Rand index of clusters and true skills; None if either is missing."""
    rare_share: float | None = None
    """Share of the selected samples that teach a rare skill; None if the data name no skills."""
    measured: int | None = None
    """Samples that the model measured (`extraction.refresh`); None: none, or an earlier version did not say."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RunRecord:
    """One run as numbers: settings, skill matrix, scores of its test items, and the cost of every step."""

    name: str
    """Name of its row in the table."""
    method: str
    """Name of its selector."""
    seed: int
    """Its seed."""
    settings: dict[str, Any]
    """Settings in which the row differs from the stream."""
    stream: str
    """Name of the stream or benchmark."""
    model: str
    """Name of the base model's folder."""
    fingerprint: str | None
    """Hash of the files of the base model; None if they are not in a folder."""
    budget: int
    """Samples to train on in one step."""
    cap: int | None
    """Samples that the pool may hold; None: no cap."""
    skills: tuple[str, ...]
    """S names; empty if no skill is tested."""
    introduced_at: np.ndarray
    """S int64, as in `Evaluation`."""
    matrix: np.ndarray
    """T x S strict accuracies in 0..1; NaN: not tested."""
    num_items: np.ndarray
    """S int64: test items; 0: a harness tests the skill and does not say how many it has."""
    frequency: np.ndarray
    """S shares of the stream; NaN: unknown."""
    items: dict[str, ItemScores]
    """Skill -> its test items after the last step; without those of which a harness gives no scores."""
    steps: tuple[StepRecord, ...]
    """The finished steps."""
    made_by: dict[str, Any]
    """Version, commit and time of the run."""
    breaks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Skill -> rows of the matrix from which on it was tested with other items; as in `Evaluation`."""
    changes: Sequence[str] = ()
    """Changes of base model and tests within the run that its user accepted, a sentence each."""
    rejected: Sequence[int] = ()
    """Rows of the matrix whose steps the gate has rolled back: no number counts them."""
    gates: Sequence[str] = ()
    """What the gate made of steps that it did not pass, a sentence each."""
    tolerant: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """T x S accuracies whatever the format of the answers; NaN: unknown, as all are if not given."""
    standard_errors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """S standard errors of the last row that a harness gives; NaN: none, as all are if not given."""
    metrics: tuple[str, ...] = ()
    """S names of what a score means; empty text: unknown, as all are if not given."""
    tests: Mapping[str, str] = field(default_factory=dict)
    """Skill -> digest of its newest tests; without those of versions that recorded none."""
    engine: str = HF
    """What generated the answers."""
    traits: Traits | None = None
    """What its method says of itself; None in a record that was read, as it is not written: see `method_traits`."""

    def __post_init__(self) -> None:
        """Fill in what is not given: it is unknown."""
        filled: dict[str, Any] = {"metrics": self.metrics or ("",) * len(self.skills)}
        if not self.tolerant.size:
            filled["tolerant"] = np.full(self.matrix.shape, np.nan)
        if not self.standard_errors.size:
            filled["standard_errors"] = np.full(len(self.skills), np.nan)
        for name, value in filled.items():
            object.__setattr__(self, name, value)

    @property
    def method_traits(self) -> Traits:
        """What its method says of itself; in a record that was read: the method of this name that is registered."""
        return self.traits or traits_of(self.method)

    @property
    def comparable_matrix(self) -> np.ndarray:
        """The matrix with NaN where a skill was tested with other items than in the last row: T x S."""
        return since_breaks(self.matrix, self.skills, self.breaks)

    @property
    def accepted(self) -> RunRecord:
        """The record without rejected rows, so that its last row is that of the newest model.

        `steps` are still all steps.
        """
        if not self.rejected:
            return self
        matrix, introduced_at = accepted_rows(self.matrix, self.introduced_at, self.rejected)
        earlier = {row: sum(other < row for other in self.rejected) for rows in self.breaks.values() for row in rows}
        return replace(
            self,
            matrix=matrix,
            introduced_at=introduced_at,
            tolerant=accepted_rows(self.tolerant, self.introduced_at, self.rejected)[0],
            breaks={skill: [row - earlier[row] for row in rows] for skill, rows in self.breaks.items()},
            rejected=(),
        )

    @property
    def is_plain(self) -> bool:
        """Whether it is a method by its own name, not a variant of one."""
        return self.name == self.method

    def __repr__(self) -> str:
        matrix = self.accepted.matrix
        tested = matrix[-1][np.isfinite(matrix[-1])] if len(matrix) else np.zeros(0)
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
        """Return the record as JSON values."""
        return {
            **{name: value for name, value in vars(self).items() if name not in ("traits", *SELDOM)},
            **{name: vars(self)[name] for name in SELDOM if vars(self)[name]},
            "skills": list(self.skills),
            "introduced_at": self.introduced_at.tolist(),
            "matrix": np.round(self.matrix, MATRIX_DIGITS),
            "tolerant": np.round(self.tolerant, MATRIX_DIGITS),
            "standard_errors": np.round(self.standard_errors, MATRIX_DIGITS),
            "metrics": list(self.metrics),
            "num_items": self.num_items.tolist(),
            "frequency": np.round(self.frequency, MATRIX_DIGITS),
            "items": {skill: scores.packed() for skill, scores in self.items.items()},
            "steps": [asdict(step) for step in self.steps],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunRecord:
        """Return the record that `as_json` stored."""
        num_skills = len(value["skills"])
        shape = (len(value["matrix"]), num_skills)
        arrays = {
            "introduced_at": np.array(value["introduced_at"], np.int64),
            "matrix": np.array(value["matrix"], np.float64).reshape(shape),
            # Earlier versions wrote neither tolerant accuracies nor standard errors.
            "tolerant": np.array(value["tolerant"], np.float64).reshape(shape) if "tolerant" in value else np.zeros(0),
            "standard_errors": np.array(value.get("standard_errors", []), np.float64),
            "num_items": np.array(value["num_items"], np.int64),
            "frequency": np.array(value["frequency"], np.float64),
        }
        others = {
            "skills": tuple(value["skills"]),
            "metrics": tuple(value.get("metrics", ())),
            "items": {skill: ItemScores.unpacked(scores) for skill, scores in value["items"].items()},
            "steps": tuple(StepRecord(**step) for step in value["steps"]),
        }
        return cls(**{**value, **arrays, **others})


class SavedComparison(NamedTuple):
    """The content of a comparison.json."""

    environment: dict[str, Any]
    """Versions, commit, processor, threads, date."""
    rows: list[str]
    """Names of the rows in the order of the table."""
    records: list[RunRecord]
    """One per run, by name and seed."""

    def __repr__(self) -> str:
        return f"SavedComparison({counted(len(self.records), 'run')}; rows: {', '.join(self.rows) or 'none'})"


def records_text(environment: Mapping[str, Any], records: Sequence[RunRecord], rows: Sequence[str] = ()) -> str:
    """Return the JSON of a comparison: its environment, the order of its rows, and one record per line."""
    ordered = sorted(records, key=lambda record: (record.name, record.seed))
    # One line per record: if one run is repeated, one line differs; and matrices do not take a page each.
    lines = ",\n".join(_line(record.as_json()) for record in ordered)
    names = list(dict.fromkeys([*rows, *(record.name for record in ordered)]))
    return f'{{"environment": {_line(environment)},\n"rows": {_line(names)},\n"records": [\n{lines}\n]}}\n'


def _line(value: Any) -> str:
    return json.dumps(tables.finite(value), ensure_ascii=False, allow_nan=False)


def read_records(path: Path) -> SavedComparison:
    """Return the content of a comparison.json.

    Raises:
        StoreError: the file is missing, damaged, or not a comparison.
    """
    found = tables.read_json(path)
    try:
        records = [RunRecord.from_json(value) for value in found["records"]]
        return SavedComparison(dict(found["environment"]), list(found["rows"]), records)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is not a comparison ({error!r}); `adaptinf compare` writes one") from error
