"""Words and images of samples on the page, and what a figure's table may hold."""

from __future__ import annotations

import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

from adaptinf.images import StoredImage
from adaptinf.report import thumbnails
from adaptinf.report.figures import Figure, figure_of_runs, plain
from adaptinf.report.samples import _is_among, question_and_answer
from adaptinf.report.thumbnails import Album
from tests.helpers.conversations import conversation, say


def stored(paths):
    return list(map(StoredImage, paths))


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (120, 300, 3), dtype=np.uint8)).save(path)
    return paths


def test_an_album_keeps_each_image_once_small_and_in_its_shape(files, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(files[0].read_bytes())
    album = Album()
    assert album.add(stored(files[:2])) == [0, 1]
    assert album.add(stored([copy])) == [0] and album.add(stored(files[:1])) == [0]
    assert len(album.uris) == 2
    image = Image.open(io.BytesIO(base64.b64decode(album.uris[0].split(",")[1])))
    assert image.format == "JPEG" and image.size == (88, 35)


def test_what_does_not_fit_or_cannot_be_read_is_counted(files, tmp_path, monkeypatch):
    album = Album()
    assert album.add(stored([tmp_path / "gone.png", files[0]])) == [0] and album.num_unreadable == 1
    monkeypatch.setattr(thumbnails, "MAX_BYTES", album.num_bytes)
    assert album.add(stored(files[1:3])) == [] and album.num_left_out == 2
    assert album.add(stored(files[:1])) == [0]


def test_a_sample_shows_at_most_four_images(files):
    assert len(Album().add(stored(files))) == 4


def test_a_conversation_is_its_first_question_and_answer():
    plain_turn = conversation(
        "a", say("system", "Be brief."), say("user", "<image>", "What?"), say("assistant", "Red.")
    )
    assert question_and_answer(plain_turn) == ("What?", "Red.")
    turns = conversation("b", *[say(role, f"{role} {n}") for n in range(3) for role in ("user", "assistant")])
    assert question_and_answer(turns) == ("user 0", "assistant 0 (and 2 more turns)")
    question, answer = question_and_answer(conversation("c", say("user", "x" * 500), say("assistant", "y")))
    assert len(question) == 160 and question.endswith("…") and answer == "y"


def test_membership_of_ids_is_that_of_sets_and_quick_enough_for_a_pool():
    ids = np.array([f"one/{number:06d}" for number in range(60_000)], dtype=object)
    began = time.monotonic()
    assert _is_among(ids, ids[::-2]).tolist() == [number % 2 == 1 for number in range(60_000)]
    assert not _is_among(ids, np.zeros(0, object)).any()
    assert time.monotonic() - began < 5, "comparing pair by pair takes minutes"


def test_a_table_has_json_numbers_and_none_for_what_is_not_finite():
    assert [plain(value) for value in (np.float32(0.1), np.int64(3), float("nan"), np.inf, "a", np.bool_(True))] == [
        0.1, 3, None, None, "a", True,
    ]  # fmt: skip
    figure = figure_of_runs("k", [("one", [{"x": 1}, {"x": 2}]), ("two", "because"), ("three", [])])
    assert figure.plain() == {"columns": {"run": ["one", "one"], "x": [1, 2]}, "missing": {"two": "because"}}
    assert Figure(key="k", rows=[]).plain() == {"columns": {}, "missing": {}}
