"""The jobs that one revision runs, by its command line alone; each writes into folders of its own name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

PLACES_NAME = "places.json"
"""In a folder of outputs: where it was written, and which source tree wrote it."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    # Sets are written in their own order, such as the target modules of an adapter.
    "PYTHONHASHSEED": "0",
    # The folder of outputs must not offer modules.
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""One thread, no network, no randomness of the interpreter."""
POLL_SECONDS = 0.001
TIMEOUT_SECONDS = 300
SHOWN_CHARACTERS = 4000
"""Of what a command printed that failed: the end."""
SELECTORS = ("adapt", "adapt_plus", "coincide", "dbp", "cluster_balanced", "semdedup_random", "perplexity_top")
"""Methods that choose from files."""


class JobError(Exception):
    """A job did not do what it is there for; the message has the end of what the command printed."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One source tree, its command line, and where it writes."""

    tree: Path
    """The root of the source tree."""
    inputs: Path
    """What `write_inputs` wrote."""
    outputs: Path
    """One folder per job is written here; the working directory of every command."""

    def __call__(self, *words: object, into: str | None = None) -> None:
        """Run one command; `into` names the file for what it prints.

        Raises:
            JobError: its exit code is not 0.
        """
        process = self._start(words)
        said, log = process.communicate(timeout=TIMEOUT_SECONDS)
        if process.returncode:
            raise _failure(words, f"exit code {process.returncode}", said + log)
        if into is not None:
            (self.outputs / into).parent.mkdir(parents=True, exist_ok=True)
            (self.outputs / into).write_text(said, encoding="utf-8")

    def killed(self, *words: object, at: str) -> None:
        """Begin one command, and kill it as soon as a path that `at` matches exists.

        Raises:
            JobError: it ended before.
        """
        process = self._start(words)
        started = time.monotonic()
        while process.poll() is None and time.monotonic() - started < TIMEOUT_SECONDS:
            if next(self.outputs.glob(at), None) is not None:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(POLL_SECONDS)
        said, log = process.communicate(timeout=TIMEOUT_SECONDS)
        if process.returncode != -signal.SIGKILL:
            raise _failure(words, f"exit code {process.returncode} before {at} was there", said + log)

    def _start(self, words: tuple[object, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "adaptinf", *map(str, words)],
            cwd=self.outputs,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(self.tree)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


def _failure(words: tuple[object, ...], what: str, printed: str) -> JobError:
    return JobError(f"adaptinf {' '.join(map(str, words))}: {what}; it printed\n{printed[-SHOWN_CHARACTERS:]}")


def _adapt_plus(call: Revision) -> None:
    """Two steps of adapt_plus, killed while it trains and while it measures, and resumed."""
    words = ("run", call.inputs / "stream.yaml", "--out", "adapt_plus", "--set", "selection.method=adapt_plus")
    call.killed(*words, "--quiet", at="adapt_plus/steps/00/model.part/checkpoints/*")
    call.killed(*words, "--quiet", at="adapt_plus/steps/01/features.part/*")
    call(*words, "--quiet")


def _adapt(call: Revision) -> None:
    """Two steps of adapt with merged adapters and copied images, killed between two steps' stages, and resumed."""
    settings = ("selection.method=adapt", "clustering.clusters=3", "training.adapter=merge", "data.images=copy")
    words = ("run", call.inputs / "stream.yaml", "--out", "adapt", *(f"--set={setting}" for setting in settings))
    call.killed(*words, "--quiet", at="adapt/steps/01/model.part")
    call(*words, "--quiet")


def _text(call: Revision) -> None:
    """Two steps of a text-only model, all weights tuned."""
    call("run", call.inputs / "text.yaml", "--out", "text", "--set", "selection.method=adapt", "--quiet")


def _compare(call: Revision) -> None:
    """Two methods and two variants over one stream, one after another so that it is known who shares what."""
    words = ("--methods", "adapt,random_replay", "--variants", call.inputs / "variants.yaml", "--workers", 1)
    settings = ("--set", "extraction.keep=last", "--set", "training.epochs=1")
    call("compare", call.inputs / "stream.yaml", *words, *settings, "--out", "compare", "--json", into="compare.json")


def _select(call: Revision) -> None:
    """Every kind of selector on the arrays of a step."""
    features = call.outputs / "adapt" / "steps" / "01" / "features"
    arrays = ("--vectors", features / "vectors.npy", "--embeddings", features / "embeddings.npy")
    for method in SELECTORS:
        words = ("--method", method, "--budget", 10, "--seed", 5, "--out", f"select/{method}", "--json")
        call("select", features / "scores.parquet", *arrays, *words, into=f"select_json/{method}.json")


def _export(call: Revision) -> None:
    """A selection in both formats, with images as they lie and copied."""
    # The pool of `adapt` holds copies of its images, so references to them would name the folder of outputs.
    for run, format, images in (("adapt_plus", "llava", "reference"), ("adapt", "messages", "copy")):
        words = ("--step", 1, "--format", format, "--images", images, "--out", f"export/{format}", "--json")
        call("export", run, *words, into=f"export_json/{format}.json")


def _inspect(call: Revision) -> None:
    """An empty run's settings, and what the commands that only look print as JSON."""
    call("init", "inspect/empty", "--model", call.inputs / "base")
    data = (call.inputs / "first.json", "--images", call.inputs / "images")
    model = ("--model", call.inputs / "base")
    call("validate", *data, *model, "--json", into="inspect/validate.json")
    call("inspect", data[0], "000", *data[1:], *model, "--json", into="inspect/inspect.json")
    call("list", "--json", into="inspect/list.json")
    call("status", "adapt_plus", "--json", into="inspect/status.json")
    for name in ("first/000", "first/000~2", "first/gone", "second/051", _first_pruned(call, "adapt_plus")):
        call("explain", "adapt_plus", name, "--json", into=f"inspect/explain/{name.replace('/', '-')}.json")


def _extend(call: Revision) -> None:
    """In a copy of a run: a pruned sample comes back, a dataset leaves, a third one arrives and is learnt."""
    run, pruned = "extend/run", _first_pruned(call, "adapt")
    shutil.copytree(call.outputs / "adapt", call.outputs / run)
    call("restore", run, pruned)
    call("withdraw", run, "second")
    call("add", run, call.inputs / "third.json", "--images", call.inputs / "images", "--quiet")
    call("step", run, "--quiet")
    call("status", run, "--json", into="extend/status.json")
    call("explain", run, pruned, "--json", into="extend/explain/restored.json")
    call("explain", run, "second/051", "--json", into="extend/explain/withdrawn.json")


def _first_pruned(call: Revision, run: str) -> str:
    import pyarrow.parquet as pq

    return str(pq.read_table(call.outputs / run / "steps" / "00" / "pruning" / "pruned.parquet")["id"][0].as_py())


def _demo(call: Revision) -> None:
    """The demo's data, and its first step with the cheapest method."""
    call("demo", "--out", "demo", "--methods", "random_replay", "--steps", 1, "--quiet")


JOBS: dict[str, Callable[[Revision], None]] = {
    "adapt_plus": _adapt_plus, "adapt": _adapt, "text": _text, "compare": _compare, "select": _select,
    "export": _export, "inspect": _inspect, "extend": _extend, "demo": _demo,
}  # fmt: skip
"""In the order in which they run: later ones read what earlier ones wrote."""
NEEDED = ("adapt_plus", "adapt")
"""Jobs that others read from."""


def run_jobs(revision: Revision, skipped: Collection[str]) -> None:
    """Run every job of a revision into its folder of outputs, which appears once it is complete.

    Raises:
        JobError: the folder exists, a job that is skipped is unknown or needed by others, or a job failed.
    """
    if unknown := set(skipped) - set(JOBS) | set(skipped) & set(NEEDED):
        raise JobError(f"--skip {','.join(sorted(unknown))}: no such job, or one that others need")
    final = revision.outputs
    if final.exists():
        raise JobError(f"{final} exists already; choose another folder, or delete it")
    part = final.with_name(final.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    places = {"outputs": str(part), "tree": str(revision.tree)}
    (part / PLACES_NAME).write_text(json.dumps(places), encoding="utf-8")
    working = Revision(tree=revision.tree, inputs=revision.inputs, outputs=part)
    for name, job in JOBS.items():
        if name not in skipped:
            started = time.monotonic()
            job(working)
            print(f"{revision.tree}: {name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    part.rename(final)
