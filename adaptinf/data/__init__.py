"""The records that travel between stages, one module each, and the files that each is saved as."""

from __future__ import annotations

from adaptinf.data.checked import Checked
from adaptinf.data.clusters import Clusters
from adaptinf.data.evaluation import Evaluation
from adaptinf.data.features import Features
from adaptinf.data.pruning import Pruning, SavedPruning
from adaptinf.data.samples import Block, HasIds, Message, Rejected, Sample
from adaptinf.data.selection import Replay, SelectedPart, Selection
from adaptinf.data.trained import Trained
from adaptinf.storage import store

__all__ = [
    "ARTIFACTS",
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
