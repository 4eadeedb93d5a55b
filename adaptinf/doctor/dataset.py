"""adaptinf validate: counts of a dataset, rejected rows with reasons, token lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read
from adaptinf.progress import Progress, Silent
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

MEASURED_SAMPLES = 2000
"""Samples whose token lengths are measured: the first ones, so that a long file takes little time."""


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Token lengths of a dataset's first samples, as a model reads them."""

    measured: int
    """Samples that were measured."""
    median: int | None = None
    """Tokens of a sample, images included; None where there is no sample."""
    p95: int | None = None
    """95 % of the samples are at most this long."""
    longest: int | None = None
    """Tokens of the longest one."""
    first_answer: str | None = None
    """What the model learns to say to the first sample."""
    learns_to_stop: bool | None = None
    """Whether that answer ends with an end token."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self) if self.measured else {"measured": 0}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Result of validating one dataset."""

    path: str
    """The file or folder."""
    num_samples: int
    """Rows that become samples."""
    num_turns: int
    """Assistant turns in all."""
    num_images: Counter[int]
    """Images of a sample -> samples."""
    skills: Counter[str]
    """True skills, where the data carry them."""
    rejected: tuple[Rejected, ...]
    """Rows that cannot be used."""
    repaired: tuple[tuple[str, str], ...]
    """(id, what the reader did about it)."""
    tokens: TokenLengths | None = None
    """Token lengths; None where no model was named."""

    def __repr__(self) -> str:
        counts = f"{counted(self.num_samples, 'sample')}, {len(self.rejected):,} rejected"
        return f"Findings({self.path!r}: {counts}, {len(self.repaired):,} repaired)"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per rejected row: `file`, `row`, `reason`, `id`."""
        names = [field.name for field in fields(Rejected) if field.name != "ends_file"]
        return as_frame({name: [getattr(row, name) for row in self.rejected] for name in names})

    def _repr_html_(self) -> str:
        """Return the counts and the rejected rows as notebooks show them."""
        return as_html(repr(self), *([self.to_pandas()] if self.rejected else []))

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for JSON; its keys are those that `validate --json` has always had."""
        return {
            "samples": self.num_samples,
            "assistant_turns": self.num_turns,
            "samples_by_pictures": {str(count): number for count, number in sorted(self.num_images.items())},
            "skills": dict(self.skills.most_common()),
            "rejected": [vars(row) for row in self.rejected],
            "repaired": [{"id": name, "note": note} for name, note in self.repaired],
            **({} if self.tokens is None else {"tokens": self.tokens.as_json()}),
        }


@dataclass(kw_only=True)
class _Counts:
    """What is counted while a file is read."""

    num_samples: int = 0
    num_turns: int = 0
    num_images: Counter[int] = field(default_factory=Counter)
    skills: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)
    first: list[Sample] = field(default_factory=list)

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


def validate(
    path: str,
    *,
    images: str | None = None,
    format: str | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Read a whole dataset, open every image, and return the findings.

    Args:
        path: dataset file or folder.
        images: folder that image paths start from; None: the file's folder.
        format: name of the format; None: detected.
        model: Hugging Face folder or hub name, for the token lengths of the first samples.
        progress: where to report.

    Raises:
        DataError: the file cannot be read at all.
        ModelError: the model cannot be loaded.
    """
    counts = _Counts()
    with (progress or Silent()).stage("validate", None, unit="rows") as bar:
        for row in read(path, format, images):
            counts.add(row)
            bar.advance()
    return Findings(
        path=path,
        num_samples=counts.num_samples,
        num_turns=counts.num_turns,
        num_images=counts.num_images,
        skills=counts.skills,
        rejected=tuple(counts.rejected),
        repaired=tuple(counts.repaired),
        tokens=None if model is None else _token_lengths(counts.first, model),
    )


def _token_lengths(samples: Sequence[Sample], model: str) -> TokenLengths:
    """Return token lengths of samples as a model reads them, and whether it would learn to stop."""
    from adaptinf.config import ModelConfig
    from adaptinf.images import open_image
    from adaptinf.models import load
    from adaptinf.models.chat import IGNORED, encode
    from adaptinf.models.lengths import token_lengths
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        learner = load(ModelConfig(path=model))
        lengths = token_lengths(samples, learner)
        if not samples:
            return TokenLengths(measured=0)
        first = samples[0]
        labels = encode(learner, [first], [[open_image(path) for path in first.images]]).labels[0]
        answer = labels[labels != IGNORED].tolist()
        return TokenLengths(
            measured=len(lengths),
            median=int(np.median(lengths)),
            p95=int(np.percentile(lengths, 95)),
            longest=int(lengths.max()),
            first_answer=learner.tokenizer.decode(answer),
            learns_to_stop=bool(answer) and answer[-1] in _special_tokens(learner.tokenizer),
        )


def _special_tokens(tokenizer: Any) -> set[int]:
    return {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
