"""Reading what lmms-eval writes; lm-eval, from which it comes, writes the same.

Its results are one JSON file: `results` (task -> "metric,filter" -> value, with "metric_stderr,filter" beside it),
`n-samples`, `versions`, `higher_is_better` and `lmms_eval_version`. With --log_samples each task has a file of lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from adaptinf.errors import DataError
from adaptinf.evaluation.harness.reading import (
    HarnessResult,
    LoggedItem,
    count_of,
    json_files,
    json_lines,
    number_in,
    score_of,
    with_scores,
)
from adaptinf.evaluation.harness.tests import LMMS_EVAL, HarnessTest
from adaptinf.words import one_line, shortened

RESULTS, SAMPLES = "*results*.json", "*samples_{task}*.jsonl"
"""Names of its files: DATE_results.json and DATE_samples_TASK.jsonl; in lm-eval the date comes last."""
OTHER_NUMBERS = (
    "_stderr", "_stderr_clt", "_stderr_clustered", "_expected_accuracy", "_consensus_accuracy", "_internal_variance",
    "_consistency_rate",
)  # fmt: skip
"""Ends of the names of numbers about a metric, which are no metrics."""
NAMED = 12
"""Metrics that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a results file that may be the score of a skill."""

    file: Path
    """The file."""
    content: Mapping[str, Any]
    """All of it."""
    task: str
    """Task, or group of tasks."""
    key: str
    """Metric and filter: "acc,none"."""

    @property
    def name(self) -> str:
        """How an entry can name it."""
        return f"{self.task}/{self.key}"

    @property
    def metric(self) -> str:
        """The metric without its filter."""
        return self.key.rpartition(",")[0]

    @property
    def error_key(self) -> str:
        """Where its standard error stands."""
        return f"{self.metric}_stderr,{self.key.rpartition(',')[2]}"

    @property
    def numbers(self) -> Mapping[str, Any]:
        """All numbers of its task."""
        return dict(self.content["results"][self.task])

    def of_task(self, key: str) -> Any:
        """Return what an object of the file, such as `configs`, holds for the task; None: nothing, or no object."""
        found = self.content.get(key)
        return found.get(self.task) if isinstance(found, dict) else None


def read_lmms_eval(test: HarnessTest, output: Path, installed: str) -> HarnessResult:
    """Return the result in a folder that lmms-eval has written; `installed` is its version, empty: unknown.

    Raises:
        DataError: there is no results file, or several metrics could be meant; its score cannot be used.
    """
    chosen = _chosen(test, list(_metrics(json_files(output, test, RESULTS))), output)
    place = f"{chosen.name} of {chosen.file}"
    better = chosen.of_task("higher_is_better")
    if isinstance(better, dict) and better.get(chosen.metric) is False:
        raise DataError(
            f"evaluation of {test.skill}: {place} is better when it is lower, so a gain would count as forgetting; "
            "name another metric"
        )
    score = score_of(chosen.numbers[chosen.key], test, place)
    error = number_in(chosen.numbers.get(chosen.error_key))
    num_items = _num_items(chosen, test, place)
    items, notes, samples = _items(chosen, test, output, num_items, score)
    return HarnessResult(
        score=score,
        standard_error=math.nan if error is None or error < 0 else error / test.scale,
        num_items=num_items,
        metric=f"{LMMS_EVAL} {chosen.name}" + (f" of {test.scale:g}" if test.scale != 1 else ""),
        version=_version(chosen, installed),
        items=items,
        notes=notes,
        files=(chosen.file, *samples),
    )


def _metrics(files: Mapping[Path, Any]) -> Iterator[Metric]:
    for path, content in files.items():
        results = content.get("results") if isinstance(content, dict) else None
        for task, numbers in (results if isinstance(results, dict) else {}).items():
            for key in numbers if isinstance(numbers, dict) else ():
                metric, comma, _ = key.rpartition(",")
                if comma and not metric.endswith(OTHER_NUMBERS):
                    yield Metric(file=path, content=content, task=task, key=key)


def _chosen(test: HarnessTest, metrics: list[Metric], output: Path) -> Metric:
    """Return the metric that an entry means: the named one, or the only one."""
    wanted, where = test.reads[1], f"evaluation of {test.skill}"
    if not metrics:
        raise DataError(
            f"{where}: {output} has no results of lmms-eval (DATE_results.json); tell the command to write them there: "
            "--output_path {output}"
        )
    named = [one for one in metrics if wanted in ("", one.task, f"{one.task}/{one.metric}", one.name)]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(one.name for one in (named or metrics)[:NAMED])
    more = len(named or metrics) - NAMED
    listed += f" and {more} more" if more > 0 else ""
    if not named:
        raise DataError(f"{where}: {metrics[0].file} has no {shortened(wanted, 80)!r}; it has {listed}")
    if len({one.name for one in named}) == 1:
        names = ", ".join(one.file.relative_to(output).as_posix() for one in named[:NAMED])
        raise DataError(f"{where}: {len(named)} files in {output} have {named[0].name}: {names}; let it write one")
    raise DataError(f"{where}: {len(named)} metrics could be meant; name one, reads: lmms_eval:TASK/METRIC: {listed}")


def _num_items(chosen: Metric, test: HarnessTest, place: str) -> int:
    """Return the items that were tested; `effective` of n-samples is a share where --limit is one."""
    found = chosen.of_task("n-samples")
    counts = found if isinstance(found, dict) else {"effective": found}
    counted, share = chosen.numbers.get("samples", counts.get("effective")), number_in(counts.get("effective"))
    if share is not None and 0 < share < 1:
        counted = math.ceil(share * count_of(counts.get("original"), test, f"the number of samples of {place}"))
    # Groups of tasks have no number of their own in some versions.
    return 0 if counted is None else count_of(counted, test, f"the number of samples of {place}")


def _version(chosen: Metric, installed: str) -> str:
    """Return what decides what is asked: version of the harness, version of the task, and a hash of its settings."""
    content = chosen.content
    # BRANCH@COMMIT is that of the folder in which the command ran, whatever this is.
    written = str(content.get("lmms_eval_version") or content.get("lm_eval_version") or "")
    own = installed or ("" if "@" in written else written)
    parts = [f"lmms-eval {own}" if own else ""]
    task = chosen.of_task("configs")
    if isinstance(task, dict):
        number = _metadata_version(task.get("metadata")) or chosen.of_task("versions") or ""
        parts.append(f"{chosen.task} {number} (settings {_settings_digest(task)})")
    return ", ".join(part for part in parts if part)


def _metadata_version(metadata: Any) -> str:
    """Return the version that a task gives itself, in a mapping or a list of mappings."""
    entries = metadata if isinstance(metadata, list) else [metadata]
    return next((str(entry["version"]) for entry in entries if isinstance(entry, dict) and "version" in entry), "")


def _settings_digest(task: Mapping[str, Any]) -> str:
    """Return eight hex digits of a task's settings, without metadata, which name the model, and places in memory."""
    text = json.dumps({key: value for key, value in task.items() if key != "metadata"}, sort_keys=True)
    return xxhash.xxh3_64_hexdigest(re.sub(r" at 0x[0-9a-f]+", "", text).encode())[:8]


def _items(
    chosen: Metric, test: HarnessTest, output: Path, num_items: int, score: float
) -> tuple[tuple[LoggedItem, ...], tuple[str, ...], tuple[Path, ...]]:
    """Return the logged items of the task, why they cannot be used, and their file."""
    files = [path for path in sorted(output.rglob("*.jsonl")) if path.match(SAMPLES.format(task=_escaped(chosen.task)))]
    files = [path for path in files if _task_of(path) == chosen.task]
    if len(files) != 1:
        note = f"{len(files)} files of samples of {chosen.task}: none is read"
        return (), ((note,) if files else ()), ()
    try:
        lines = [line for line in json_lines(files[0]) if _is_of_filter(line, chosen)]
        items = [_item(line, chosen, test.scale) for line in lines]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return (), (f"the samples of {files[0]} cannot be read ({shortened(one_line(error), 80)})",), ()
    if len(items) != num_items or len({item.id for item in items}) != len(items):
        return (), (f"{files[0]} has {len(items):,} samples of {num_items:,} items: none is used",), ()
    return with_scores(items, score), (), tuple(files)


def _escaped(task: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in task)


def _task_of(path: Path) -> str:
    """Return the task that a file of samples is named after, without the date on either side."""
    name = path.stem.partition("samples_")[2]
    date = name.rpartition("_")[2]
    return name.removesuffix(f"_{date}") if "T" in date and date[:4].isdigit() else name


def _is_of_filter(line: Mapping[str, Any], chosen: Metric) -> bool:
    """Tell whether a line belongs to the filter of the metric; lmms-eval does not say, lm-eval does."""
    wanted = chosen.key.rpartition(",")[2]
    return bool(line.get("filter", wanted) == wanted)


def _item(line: Mapping[str, Any], chosen: Metric, scale: float) -> LoggedItem:
    value = line.get(chosen.metric)
    number = number_in(float(value)) if isinstance(value, bool) else number_in(value)
    if isinstance(value, dict):
        # Tasks that aggregate by themselves log what they need for that, often with the item's own score.
        number = number_in(value.get("score"))
    prompt = line.get("input", "")
    return LoggedItem(
        id=str(line["doc_id"]),
        prompt=prompt if isinstance(prompt, str) else "",
        prediction=_text(line.get("filtered_resps", line.get("resps", ""))),
        answer=_text(line["target"]),
        score=math.nan if number is None or not 0 <= number <= scale else number / scale,
    )


def _text(value: object) -> str:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
