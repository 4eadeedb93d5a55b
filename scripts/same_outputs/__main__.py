"""The three things that same_outputs.sh asks for: inputs, the outputs of one revision, and a comparison."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scripts.same_outputs.comparison import Comparison, compare
from scripts.same_outputs.inputs import write_inputs
from scripts.same_outputs.jobs import JobError, Revision, run_jobs

SHOWN_DIFFERENCES = 100


def main() -> None:
    words = _parser().parse_args()
    skipped = [name for name in words.skip.split(",") if name]
    if words.command == "inputs":
        write_inputs(words.base, words.folder.absolute())
    elif words.command == "run":
        try:
            run_jobs(Revision(tree=words.tree, inputs=words.inputs, outputs=words.outputs.absolute()), skipped)
        except JobError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    else:
        result = compare(words.before, words.after, skipped=skipped)
        _show(result)
        sys.exit(1 if result.differences or not result.num_files else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="same_outputs", description=__doc__)
    parser.add_argument("--skip", default="", help="jobs to leave out, with commas")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help, paths in (
        ("inputs", "write what the jobs read", ("base", "folder")),
        ("run", "run every job of a source tree", ("inputs", "tree", "outputs")),
        ("compare", "compare two folders of outputs", ("before", "after")),
    ):
        command = commands.add_parser(name, help=help)
        for path in paths:
            command.add_argument(path, type=Path)
    return parser


def _show(result: Comparison) -> None:
    for line in result.differences[:SHOWN_DIFFERENCES]:
        print(line)
    if len(result.differences) > SHOWN_DIFFERENCES:
        print(f"... and {len(result.differences) - SHOWN_DIFFERENCES} more")
    exempted = ", ".join(f"{reason} {count}" for reason, count in sorted(result.exempted.items()))
    print(f"compared {result.num_files:,} files with {result.num_values:,} values")
    print(f"differ and may: {exempted or 'nothing'}")
    print(f"differences: {len(result.differences)}")


if __name__ == "__main__":
    main()
