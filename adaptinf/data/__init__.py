"""The records that travel between stages, one module each, and the files that each is saved as."""

from __future__ import annotations

from adaptinf.data.checked import Checked
from adaptinf.data.clusters import Clusters
from adaptinf.data.evaluation import Evaluation
from adaptinf.data.features import Features
from adaptinf.data.pruning import Pruning, SavedPruning
from adaptinf.data.sample_map import SampleMap
from adaptinf.data.samples import Block, HasIds, Message, Rejected, Sample
from adaptinf.data.selection import Replay, SelectedPart, Selection
from adaptinf.data.trained import Trained
from adaptinf.storage import store

__all__ = [
    "ARTIFACTS",
    "SAVED",
    "Block",
    "Checked",
    "Clusters",
    "Evaluation",
    "Features",
    "HasIds",
    "Message",
    "Pruning",
    "Rejected",
    "Replay",
    "Sample",
    "SampleMap",
    "SavedPruning",
    "SelectedPart",
    "Selection",
    "Trained",
]

ARTIFACTS: tuple[type[store.Artifact], ...] = (
    Checked,
    Features,
    Clusters,
    Selection,
    Trained,
    Evaluation,
    SavedPruning,
)
"""What the stages of a step return, in order; every step writes the last one."""
SAVED: tuple[type[store.Artifact], ...] = (*ARTIFACTS, SampleMap)
"""These, and what a step may keep beside them that no stage reads."""
