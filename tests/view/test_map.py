"""The map of a step: made once, kept with the step, and no part of what makes a run whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adaptinf import api
from adaptinf.data import Features, SampleMap
from adaptinf.pipeline import mapping
from adaptinf.pipeline.mapping import make_map, try_map
from adaptinf.progress import Silent
from tests.helpers.run_folders import run_folder

MATRIX = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]


def test_a_map_is_made_once_and_read_again(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", MATRIX, datasets={"a": ["s0"] * 9, "b": ["s1"] * 9})
    made = make_map(run, 1)
    assert made is not None and len(made.ids) == 18 and np.isfinite(made.places).all()
    place = run.stage_folder(1, SampleMap) / SampleMap.PLACES
    before = place.stat().st_mtime_ns
    again = make_map(run, 1)
    np.testing.assert_array_equal(again.places, made.places)
    assert place.stat().st_mtime_ns == before


def test_a_step_whose_vectors_were_dropped_has_the_map_that_was_made_or_none(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", MATRIX)
    assert make_map(run, 0) is not None
    for step in (0, 1):
        Features.drop_arrays(run.stage_folder(step, Features))
    assert make_map(run, 0) is not None
    assert make_map(run, 1) is None


def test_verify_knows_the_map_and_names_the_command_that_makes_it_again(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", MATRIX)
    run.pin_settings()
    make_map(run, 1)
    path = run.stage_folder(1, SampleMap) / SampleMap.PLACES
    assert not [one for one in api.verify(run.folder).unlisted if SampleMap.stage in str(one)]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    (damage,) = [one for one in api.verify(run.folder).damaged if one.path == path]
    assert "the map of step 1" in damage.loses and f"adaptinf view {run.folder} --step 1" in damage.way_out


def test_a_map_that_cannot_be_made_is_said_and_ends_no_run(tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run", "adapt", MATRIX)
    said: list[str] = []

    class Noted(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    def fails(*_, **__):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(mapping, "on_plane", fails)
    try_map(replace(run, progress=Noted()), 1)
    (line,) = said
    assert "the map of step 1 was not made (no compiler here)" in line and not run.has(1, SampleMap)
