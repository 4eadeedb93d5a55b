"""adaptinf validate: counts of a dataset, rejected rows with reasons, token lengths."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adaptinf.config.schema import ColumnsConfig
from adaptinf.data import Rejected, Sample
from adaptinf.doctor.findings import Finding, surveyed, with_uses
from adaptinf.doctor.kept_tallies import counting_folder
from adaptinf.doctor.tally import Judged, Tally, TallyWork, Total, counted_before, tally_chunk
from adaptinf.errors import ConfigError
from adaptinf.evaluation.answers.judge import Judge
from adaptinf.executors.processes import open_workers, usable_cores
from adaptinf.formats.detection import name_of
from adaptinf.formats.ids import Claims
from adaptinf.formats.image_files import Folders
from adaptinf.formats.reading import Places, num_rows, prepared, settled
from adaptinf.progress import Progress, Silent
from adaptinf.scoring.columns import NumericColumn, listed
from adaptinf.storage.display import as_frame, as_html
from adaptinf.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from adaptinf.models import Learner


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Token lengths of a dataset's samples, as a model reads them."""

    measured: int
    """Samples that were measured: those that the model can use."""
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
    num_allowed: Counter[int] = field(default_factory=Counter)
    """Allowed answers of a test item -> items; empty unless a metric is named."""
    skills: Counter[str]
    """True skills, where the data carry them."""
    rejected: tuple[Rejected, ...]
    """Rows that cannot be used."""
    repaired: tuple[tuple[str, str], ...]
    """(id, what the reader did about it)."""
    findings: tuple[Finding, ...] = ()
    """Everything that was noticed, by kind."""
    broken: Rejected | None = None
    """Where the file breaks off; None: it was read to its end."""
    num_refused: int = 0
    """Samples that the model cannot use: its template refuses them, or its labels would not be their answers."""
    num_learnable: int = 0
    """Samples that can be learnt: with a model, those that it can use and of which `max_length` leaves an answer."""
    format: str = ""
    """Name of the format that was found or named."""
    tokens: TokenLengths | None = None
    """Token lengths; None where no model was named."""
    columns: tuple[NumericColumn, ...] = ()
    """Columns with a number in most rows, which may be scores: `selection.scorers: [column:NAME]`."""

    @property
    def is_good(self) -> bool:
        """Whether the file was read to its end and something would be learnt."""
        return self.broken is None and self.num_learnable > 0

    @property
    def columns_line(self) -> str:
        """The columns with numbers in one line; empty where there are none."""
        return listed(self.columns)

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
            "format": self.format,
            "samples": self.num_samples,
            "assistant_turns": self.num_turns,
            "samples_by_pictures": _by_count(self.num_images),
            **({"items_by_allowed_answers": _by_count(self.num_allowed)} if self.num_allowed else {}),
            "skills": dict(self.skills.most_common()),
            "rejected": [vars(row) for row in self.rejected],
            "repaired": [{"id": name, "note": note} for name, note in self.repaired],
            "findings": [finding._asdict() for finding in self.findings],
            "broken": None if self.broken is None else vars(self.broken),
            "refused_by_model": self.num_refused,
            "learnable": self.num_learnable,
            "numeric_columns": [asdict(column) for column in self.columns],
            **({} if self.tokens is None else {"tokens": self.tokens.as_json()}),
        }


def validate(
    path: str,
    *,
    images: Folders = None,
    format: str | None = None,
    model: str | None = None,
    max_length: int | None = None,
    max_pixels: int | None = None,
    max_row_bytes: int | None = None,
    metric: str | None = None,
    options: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | ColumnsConfig | None = None,
    subset: str | None = None,
    split: str | None = None,
    max_rows: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Read a whole dataset, open every image, and return the findings.

    Args:
        path: dataset file or folder.
        images: folder that image paths start from, or several; None: the file's folder.
        format: name of the format; None: detected.
        model: Hugging Face folder or hub name, for what a model makes of every sample; its weights are not loaded.
        max_length: tokens of one sample; None: the default of `model.max_length`.
        max_pixels: width times height of the largest image; None: the default of `data.max_pixels`.
        max_row_bytes: bytes of the largest row; None: the default of `data.max_row_bytes`.
        metric: name of a metric, for a test file: whether it can judge the allowed answers.
        options: options of the metric.
        columns: columns of rows in no known format, as for `formats.read`.
        subset: which configuration of the dataset; None: the only one.
        split: which split; None: the only one.
        max_rows: rows to draw at random; None: all.
        progress: where to report.

    Raises:
        ConfigError: there is no such metric, or it has no such option; options without a metric.
        DataError: the file cannot be read at all.
        ModelError: the model cannot be loaded.
    """
    judged = _judged(metric, options or {})
    reading = prepared(
        path,
        format,
        images,
        columns=columns,
        subset=subset,
        split=split,
        max_rows=max_rows,
        max_pixels=max_pixels,
        max_row_bytes=max_row_bytes,
        are_tests=judged is not None,
    )
    progress = progress or Silent()
    # A model looks at the samples themselves, so they are all read again.
    is_kept = model is None and reading.is_much(reading.chunks)
    with (
        counting_folder(reading, judged, is_kept=is_kept) as folder,
        progress.stage("validate", num_rows(reading.chunks), unit="rows") as bar,
    ):
        work = TallyWork(reading=reading, folder=folder, judged=judged, is_kept=is_kept)
        total = Total(reading, folder)
        if model is None:
            _count(work, total, bar.advance, progress)
            seen = _Seen(num_learnable=total.tally.num_samples)
        else:
            seen = _seen(_samples(work, total, bar.advance), model, max_length)
        total.settle()
        findings = total.tally.noticed.table(total.ids_of)
    tally = total.tally
    numeric = tally.columns.qualifying()
    return Findings(
        path=path,
        num_samples=tally.num_samples,
        num_turns=tally.num_turns,
        num_images=tally.num_images,
        num_allowed=tally.num_allowed,
        skills=tally.skills,
        rejected=tuple(tally.rejected),
        repaired=tuple(total.repaired),
        findings=(*with_uses(findings, numeric), *seen.findings),
        broken=next((row for row in tally.rejected if row.ends_file), None),
        num_refused=seen.num_refused,
        num_learnable=seen.num_learnable,
        columns=numeric,
        format=name_of(reading.plugin),
        tokens=seen.tokens,
    )


def _judged(metric: str | None, options: Mapping[str, Any]) -> Judged | None:
    """Return how the answers of a test file are judged; None: it is no test file."""
    if metric is None and options:
        raise ConfigError(f"{next(iter(options))} is an option of a metric; name the metric as well")
    if metric is None:
        return None
    _ = Judge.named(metric, options)
    return Judged(metric, options)


def _by_count(counts: Counter[int]) -> dict[str, int]:
    return {str(count): number for count, number in sorted(counts.items())}


def _count(work: TallyWork, total: Total, on_progress: Callable[[int], None], progress: Progress) -> None:
    """Count all rows, on all cores if they are many; what a killed call has counted is not read again."""
    kept = {chunk.number: counted_before(work.folder, chunk) for chunk in work.reading.chunks if work.is_kept}
    wanted = [chunk for chunk in work.reading.chunks if kept.get(chunk.number) is None]
    if num_before := sum(tally.num_numbers for tally in kept.values() if tally is not None):
        progress.note(f"{counted(num_before, 'row')} were counted by a call that was interrupted; going on from there")
        on_progress(num_before)
    num_processes = min(usable_cores(), len(wanted)) if work.reading.is_much(wanted) else 1
    with open_workers(work, num_processes, on_progress) as workers:
        made = workers.map(tally_chunk, wanted)
        for chunk in work.reading.chunks:
            found = kept.get(chunk.number)
            total.add(chunk, next(made) if found is None else found)


def _samples(work: TallyWork, total: Total, on_progress: Callable[[int], None]) -> Iterator[Sample]:
    """Yield all samples with their settled ids, while everything is counted."""
    claims, places = Claims(), Places()
    with open_workers(work, 1, on_progress) as workers:
        tallier = next(workers.map(lambda tool, _: tool, [None]))
        for chunk in work.reading.chunks:
            tally, place = Tally(), places.begin(chunk.shard)
            for item in tallier.items(chunk, tally) if place is not None else ():
                if place is not None and not isinstance(item, Rejected):
                    yield settled(item, work.reading.source, place, claims)
            places.advance(tally.num_numbers)
            places.has_ended = places.has_ended or any(row.ends_file for row in tally.rejected)
            if place is not None:
                total.add(chunk, tally)


class _Seen(NamedTuple):
    """What a model makes of the samples."""

    num_learnable: int
    num_refused: int = 0
    findings: tuple[Finding, ...] = ()
    tokens: TokenLengths | None = None


def _seen(samples: Iterator[Sample], model: str, max_length: int | None) -> _Seen:
    """Return what a model makes of samples, which are read while it looks at them."""
    from adaptinf.config import ModelConfig
    from adaptinf.models.checks import Survey, read_samples
    from adaptinf.models.loading import load_reader
    from adaptinf.models.quiet import quiet_libraries

    with quiet_libraries():
        limit = ModelConfig().max_length if max_length is None else max_length
        learner = load_reader(ModelConfig(path=model, max_length=limit))
        survey, lengths, first = Survey(), list[int](), None
        # The samples of a block are read before the first of them is looked at.
        waiting: deque[Sample] = deque()
        for found in read_samples(learner, _kept(samples, waiting)):
            sample = waiting.popleft()
            survey.add(found)
            if found.reason is None:
                lengths.append(min(found.num_tokens, learner.config.max_length))
                first = first or sample
        findings = tuple(surveyed(survey, learner.config.max_length))
        num_learnable = survey.rows - len(survey.unusable)
        if first is None:
            return _Seen(num_learnable, len(survey.refused), findings, TokenLengths(measured=0))
        tokens = _token_lengths(learner, lengths, first, first.id not in survey.without_end)
        return _Seen(num_learnable, len(survey.refused), findings, tokens)


def _kept(samples: Iterator[Sample], waiting: deque[Sample]) -> Iterator[Sample]:
    for sample in samples:
        waiting.append(sample)
        yield sample


def _token_lengths(learner: Learner, lengths: list[int], first: Sample, learns_to_stop: bool) -> TokenLengths:
    from adaptinf.models.chat import labelled
    from adaptinf.models.chat.turns import Unusable

    (whole,) = labelled(learner, [first])
    assert not isinstance(whole, Unusable), f"{first.id} was usable a moment ago"
    learnt = [token for own in whole.answers for token in whole.ids[own.start : own.stop]]
    return TokenLengths(
        measured=len(lengths),
        median=int(np.median(lengths)),
        p95=int(np.percentile(lengths, 95)),
        longest=max(lengths),
        first_answer=learner.tokenizer.decode(learnt),
        learns_to_stop=learns_to_stop,
    )
