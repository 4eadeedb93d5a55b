"""Experiments of a benchmark: which records they share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adaptinf.results.records import read_records, records_text
from benchmarks import experiments, mini_liit


def test_rows_are_shared_by_results_of_the_same_training_code_only(tmp_path: Path) -> None:
    suite = dataclasses.replace(mini_liit.suite(), results=tmp_path)
    saved = read_records(mini_liit.RESULTS / "mini-liit-main.json")
    main, replay = suite.result_of("main"), suite.experiments["replay"]
    for code, is_shared in ((experiments.training_code(), True), ("another", False), (None, False)):
        around = saved.environment if code is None else {**saved.environment, experiments.TRAINING_CODE: code}
        main.write_text(records_text(around, saved.records, saved.rows))
        found = {(record.name, record.seed) for record in suite.recorded("replay")}
        shared = {(name, seed) for name in ("random_replay", "adapt_plus") for seed in replay.seeds}
        assert found == (shared if is_shared else set())
        # Its own records count whatever made them: a finished experiment is not run again.
        assert len(suite.recorded("main")) == len(saved.records)
