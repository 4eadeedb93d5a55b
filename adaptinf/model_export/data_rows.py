"""The data that a model was trained on: each dataset with its rows, how many were trained on, and its licence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from adaptinf.data import Selection, Trained
from adaptinf.model_export.licences import Licence, licence_of_data
from adaptinf.model_export.names import data_place, is_repository_name
from adaptinf.pool.corrections import excluded_ids, withdrawn_datasets
from adaptinf.pool.stored import dataset_info
from adaptinf.runs import Run
from adaptinf.runs.gates import is_rolled_back

LEFT_OUT = ("unreadable", "without_answer")
"""Keys of a training's info.json with the ids of selected samples that were not trained on."""


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """One dataset of the stream."""

    name: str
    """Its name in the stream."""
    place: str
    """A name of the hub, or in words what kind of place it is."""
    rows: int
    """Samples that arrived."""
    rejected: int
    """Rows that could not be used."""
    num_trained: int
    """Different samples that were trained on."""
    num_times: int
    """Samples trained on, each as often as it was selected; epochs are not counted."""
    licence: Licence | None
    """What its card says; None: not known."""
    withdrawn_from: int | None
    """First step whose pool did not have it, as its user took it out; None: it stayed."""
    num_excluded: int
    """Samples that its user took out one by one; what was trained on them before stays in the weights."""

    @property
    def hub_name(self) -> str | None:
        """Its name on the hub; None: it comes from files."""
        return self.place if is_repository_name(self.place) else None


def data_rows(run: Run, step: int) -> tuple[DataRow, ...]:
    """Return the datasets of all steps up to one.

    Raises:
        StoreError: a dataset or a selection is damaged.
    """
    distinct, times = _trained(run, step)
    withdrawn = withdrawn_datasets(run.pool_folder)
    excluded = Counter(map(_dataset_of, excluded_ids(run.pool_folder)))
    rows = []
    for number, dataset in enumerate(run.config.stream[: step + 1]):
        info = dataset_info(run.dataset_folder(number))
        row = DataRow(
            name=dataset.name,
            place=data_place(dataset.path),
            rows=int(info["rows"]),
            rejected=int(info["rejected"]),
            num_trained=distinct[dataset.name],
            num_times=times[dataset.name],
            licence=licence_of_data(dataset),
            withdrawn_from=withdrawn.get(dataset.name),
            num_excluded=excluded[dataset.name],
        )
        rows.append(row)
    return tuple(rows)


def _trained(run: Run, step: int) -> tuple[Counter[str], Counter[str]]:
    """Return dataset -> number of different samples trained on up to a step, and number of all of them."""
    seen: set[str] = set()
    times: Counter[str] = Counter()
    for number in range(step + 1):
        selection, trained = run.load(number, Selection), run.load(number, Trained)
        if selection is None or trained is None or is_rolled_back(run, number):
            continue
        left_out = {id for key in LEFT_OUT for id in trained.info.get(key, ())}
        ids = [id for id in selection.ids.tolist() if id not in left_out]
        times.update(map(_dataset_of, ids))
        seen.update(ids)
    return Counter(map(_dataset_of, seen)), times


def _dataset_of(id: str) -> str:
    """Return the dataset of a sample: an id is DATASET/ID, and no dataset's name has a slash."""
    return id.partition("/")[0]
