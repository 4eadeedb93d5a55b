"""Looking at a dataset before any GPU time: counts, rejected rows with reasons, token lengths."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read
from adaptinf.progress import Progress, Silent

MEASURED_SAMPLES = 2000
"""Token lengths are taken from the first samples, so that a long file costs little."""


@dataclass(kw_only=True)
class Findings:
    """What validation found in one file."""

    num_samples: int = 0
    """Rows that become samples."""
    num_turns: int = 0
    """Assistant turns in all."""
    num_images: Counter[int] = field(default_factory=Counter)
    """Images of a sample -> samples."""
    skills: Counter[str] = field(default_factory=Counter)
    """True skills, where the data carry them."""
    rejected: list[Rejected] = field(default_factory=list)
    """Rows that cannot be used."""
    repaired: list[tuple[str, str]] = field(default_factory=list)
    """(id, what the reader did about it)."""
    first: list[Sample] = field(default_factory=list)
    """The first samples, for measuring lengths."""

    def add(self, row: Sample | Rejected) -> None:
        """Count one row."""
        if isinstance(row, Rejected):
            self.rejected.append(row)
            return
        self.num_samples += 1
        self.num_turns += sum(message["role"] == "assistant" for message in row.messages)
        self.num_images[len(row.images)] += 1
        self.repaired += [(row.id, note) for note in row.notes]
        if row.meta.get("skill"):
            self.skills[str(row.meta["skill"])] += 1
        if len(self.first) < MEASURED_SAMPLES:
            self.first.append(row)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        return {
            "samples": self.num_samples,
            "assistant_turns": self.num_turns,
            "samples_by_pictures": {str(count): number for count, number in sorted(self.num_images.items())},
            "skills": dict(self.skills.most_common()),
            "rejected": [vars(row) for row in self.rejected],
            "repaired": [{"id": name, "note": note} for name, note in self.repaired],
        }


def validate(
    path: str, *, images: str | None = None, format: str | None = None, progress: Progress | None = None
) -> Findings:
    """Read a whole dataset, open every image, and return what was found.

    Raises:
        DataError: the file cannot be read at all.
    """
    findings = Findings()
    with (progress or Silent()).stage("validate", None, unit="rows") as bar:
        for row in read(path, format, images):
            findings.add(row)
            bar.advance()
    return findings


def token_report(findings: Findings, model_path: str) -> dict[str, Any]:
    """Return token lengths of the first samples as a model reads them, and whether it would learn to stop.

    Raises:
        ModelError: the model folder cannot be loaded.
    """
    from adaptinf.config import ModelConfig
    from adaptinf.images import open_image
    from adaptinf.models import load
    from adaptinf.models.chat import IGNORED, encode
    from adaptinf.models.lengths import token_lengths

    learner = load(ModelConfig(path=model_path))
    lengths = token_lengths(findings.first, learner)
    report: dict[str, Any] = {"measured": len(lengths)}
    if len(lengths):
        report |= {
            "median": int(np.median(lengths)), "p95": int(np.percentile(lengths, 95)), "longest": int(lengths.max())
        }  # fmt: skip
    for sample in islice(findings.first, 1):
        labels = encode(learner, [sample], [[open_image(path) for path in sample.images]]).labels[0]
        answer = labels[labels != IGNORED].tolist()
        report["first_answer"] = learner.tokenizer.decode(answer)
        report["learns_to_stop"] = bool(answer) and answer[-1] in _special_tokens(learner.tokenizer)
    return report


def _special_tokens(tokenizer: Any) -> set[int]:
    return {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
