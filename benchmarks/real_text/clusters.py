"""What clusters follow: agreement with the true tasks of every kind of vector, over layers and ways of asking.

Written as one JSON of rows, from which the tables of docs/findings.md are made. Nothing is trained. Gradients are as
adaptinf has them, sketched and raw: it has no preconditioned ones.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from adaptinf.config import ExtractionConfig
from adaptinf.extraction import extract
from adaptinf.models.blocks import decoder_blocks
from adaptinf.models.loading import Learner
from adaptinf.runs.environment import environment
from adaptinf.storage import store, tables
from benchmarks.real_text.agreement import agreement
from benchmarks.real_text.prompts import Draw

Tokens = Literal["question", "answer", "text"]
HIDDEN: dict[Tokens, str] = {"question": "question", "answer": "answer", "text": "question and answer"}
"""Token set -> its name in the table."""
Layer = Literal["first", "middle", "last"]
LAYERS: tuple[Layer, ...] = ("first", "middle", "last")
GRADIENTS: tuple[Literal["gradient", "fisher"], ...] = ("gradient", "fisher")
DIM = 1024
"""Length of a sketched gradient."""
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One extraction and what its vectors are called."""

    config: ExtractionConfig
    """What is measured."""
    names: tuple[str, ...]
    """Names of equal parts of each vector, one row of the table each."""


def cases(middle: int, last: int, kinds: Sequence[str], layers: Sequence[str]) -> Iterator[Case]:
    """Yield the extractions: hidden states of three layers at a time, gradients and fisher vectors of one each."""
    for tokens, name in HIDDEN.items():
        if "hidden" in kinds:
            config = ExtractionConfig(
                vector="hidden", vector_tokens=tokens, layers=[0, middle, last], image="unmeasured"
            )
            yield Case(config=config, names=tuple(f"states of the {name}, {layer} block" for layer in LAYERS))
    for kind in GRADIENTS:
        for layer in [one for one in LAYERS if one in layers and kind in kinds]:
            config = ExtractionConfig(vector=kind, layers=layer, dim=DIM, image="unmeasured")
            yield Case(config=config, names=(f"{kind}, {layer} block",))


def follow(
    learner: Learner, draw: Draw, kinds: Sequence[str], layers: Sequence[str], tell: Tell
) -> list[dict[str, Any]]:
    """Return one row per kind of vector, each with its agreement and the seconds of its extraction."""
    blocks = len(decoder_blocks(learner.model))
    rows: list[dict[str, Any]] = []
    ids = [sample.id for sample in draw.samples]
    for case in cases(blocks // 2, blocks - 1, kinds, layers):
        folder = Path(tempfile.mkdtemp())
        started = time.process_time()
        vectors_ND = np.array(extract(draw.samples, learner, case.config, out=folder).vectors, np.float32)
        seconds = time.process_time() - started
        shutil.rmtree(folder)
        for name, part in zip(case.names, np.split(vectors_ND, len(case.names), axis=1), strict=True):
            found = agreement(part, ids, draw.tasks, draw.answers, draw.rare)
            rows.append({"vector": name, **asdict(found), "cpu_seconds": round(seconds, 1)})
            tell(f"{name}: ARI {found.joined_ari:.2f}, AMI {found.joined_ami:.2f}, {seconds:.0f} s")
    return rows


def described(draw: Draw) -> dict[str, Any]:
    """Return what the agreement of a draw is read against."""
    return {
        "samples": len(draw.samples),
        "tasks": len(set(draw.tasks)),
        "answers": len(set(draw.answers)),
        "rare_of_all": round(draw.rare_share, 4),
    }


def add_rows(path: Path, rows: Sequence[Mapping[str, Any]], **about: Any) -> None:
    """Add the rows of one draw and model to a result; rows of the same draw and model are replaced."""
    saved = tables.read_json(path) if path.exists() else {"rows": []}
    mine = [{**about, **row} for row in rows]
    names = {(row["data"], row["condition"], row["model"], row["vector"]) for row in mine}
    kept = [row for row in saved["rows"] if (row["data"], row["condition"], row["model"], row["vector"]) not in names]
    around = environment(threads_per_run=torch.get_num_threads(), gpu=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write_json_whole(path, {"environment": around, "rows": [*kept, *mine]})
