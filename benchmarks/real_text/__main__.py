"""A real pre-trained language model on a stream of real tasks; docs/real-text.md has the design.

python -m benchmarks.real_text model --model runs/smollm2                    # the model folder, of a PyPI package
python -m benchmarks.real_text stream --tasks TASKS --out runs/real-text-0   # the stream of one seed, to look at
python -m benchmarks.real_text run small --tasks TASKS                       # methods x seeds; the same line resumes
python -m benchmarks.real_text table small                                   # what has finished, as a table
python -m benchmarks.real_text clusters --tasks TASKS                        # what clusters follow
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from adaptinf.demo.benchmark import STREAM_FILE
from adaptinf.errors import AdaptError
from adaptinf.models.quiet import silence_libraries
from adaptinf.results.markdown import short_table
from adaptinf.results.records import read_records
from adaptinf.results.table import results_table
from benchmarks.experiments import RESULTS, add_options, run_named
from benchmarks.real_text import clusters_command
from benchmarks.real_text.model import make_model
from benchmarks.real_text.stream import SIZES
from benchmarks.real_text.suite import EXPERIMENTS, PREFIX, prepare, suite

MODEL = Path("runs/smollm2")
"""Where the model folder is made if no other is named."""
Work = Callable[[argparse.Namespace], None]


def _model(args: argparse.Namespace) -> None:
    print(make_model(args.model, args.package))


def _stream(args: argparse.Namespace) -> None:
    make_model(args.model, args.package)
    prepare(args.out, args.size, args.model, args.tasks, args.seed)
    print(args.out / STREAM_FILE)


def _run(args: argparse.Namespace) -> None:
    make_model(args.model, args.package)
    run_named(suite(args.model, args.tasks, args.results), args, ["small"])


def _table(args: argparse.Namespace) -> None:
    for name in args.names:
        path = args.results / f"{PREFIX}-{name}.json"
        if not path.exists():
            sys.exit(f"{path} does not exist: no run of {name} has finished yet")
        saved, wanted = read_records(path), EXPERIMENTS[name]
        print(short_table(results_table(saved.records, saved.rows)))
        device = saved.environment.get("gpu") or saved.environment["processor"]
        for one in saved.records:
            seconds = sum(
                step.selection_seconds + step.training_seconds + step.evaluation_seconds for step in one.steps
            )
            print(f"{one.name}, seed {one.seed}: {seconds:.0f} s on {device}")
        print(f"{len(saved.records)} of {len(wanted.rows) * len(wanted.seeds)} runs of {name} have finished")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, text: str, work: Work) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(work=work)
        return one

    model = command("model", "make the model folder", _model)
    stream = command("stream", "write the stream of one seed", _stream)
    run = command("run", "compare methods, resuming where an earlier call stopped", _run)
    table = command("table", "print what has finished", _table)
    clusters = command("clusters", "measure what clusters follow", clusters_command.run)
    for one in (model, stream, run, clusters):
        one.add_argument("--model", type=Path, default=MODEL, help="model folder; made of the package if absent")
        one.add_argument("--package", type=Path, help="wheel or GGUF file of the package; default: the installed one")
    for one in (stream, run, clusters):
        one.add_argument("--tasks", type=Path, required=one is not clusters, help="folder with tasks")
    for one in (run, table, clusters):
        one.add_argument("--results", type=Path, default=RESULTS, help="folder for records")
    stream.add_argument("--size", choices=list(SIZES), default="small")
    stream.add_argument("--seed", type=int, default=0)
    stream.add_argument("--out", type=Path, required=True, help="folder for the stream")
    add_options(run, list(EXPERIMENTS), f"runs/{PREFIX}")
    table.add_argument("names", nargs="+", choices=list(EXPERIMENTS))
    clusters_command.add_options(clusters)
    return parser


def main() -> None:
    """Carry out one command; what the user can put right ends with one line and exit code 2."""
    args = _parser().parse_args()
    silence_libraries()
    try:
        args.work(args)
    except AdaptError as error:
        print(f"real_text: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
