"""What an outside trainer is given: rows whose images all open, by paths that hold wherever the trainer starts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from PIL import Image

from adaptinf.data import Sample
from adaptinf.errors import DataError
from adaptinf.images.contents import ImageContent
from adaptinf.progress import Silent
from adaptinf.runs.trainer_data import clear, unreadable_images, write_trainer_data
from adaptinf.training import unreadable
from tests.helpers.conversations import conversation, say


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    """A text, an image file, and an image that only the pool has."""
    path = tmp_path / "images" / "red.png"
    path.parent.mkdir()
    Image.new("RGB", (8, 8), (220, 30, 30)).save(path)
    other = tmp_path / "blue.png"
    Image.new("RGB", (8, 8), (30, 30, 220)).save(other)
    held = ImageContent.of(other.read_bytes())
    return [
        conversation("text", say("user", "Hot or cold?"), say("assistant", "cold")),
        conversation("file", say("user", "<image>", "Colour?"), say("assistant", "red"), images=(path,)),
        conversation("held", say("user", "<image>", "Colour?"), say("assistant", "blue"), images=(held,)),
    ]


@pytest.mark.parametrize("format", ["sharegpt", "messages", "llava", "swift"])
def test_images_are_absolute_paths_that_open_also_those_that_only_the_pool_has(samples, tmp_path, format):
    part = tmp_path / "model.part"
    part.mkdir()
    data = write_trainer_data(samples, part, format, Silent())
    text = data.file.read_text(encoding="utf-8")
    rows = json.loads(text) if format == "llava" else [json.loads(line) for line in text.splitlines()]
    assert data.num_samples == 3 and [row["id"] for row in rows] == [sample.id for sample in samples]
    named = [row.get("images") or ([row["image"]] if "image" in row else []) for row in rows]
    assert named[0] == [] and named[1] == [str(tmp_path / "images" / "red.png")]
    for (path,), colour in zip(named[1:], ((220, 30, 30), (30, 30, 220)), strict=True):
        with Image.open(data.folder / path) as image:
            assert str(data.folder / path) == path and image.getpixel((0, 0)) == colour
    # A loader that is given the folder finds the data file alone, and what LLaMA-Factory needs.
    others = {"dataset_info.json"} if format == "sharegpt" else set()
    assert {path.name for path in data.folder.iterdir()} == {data.file.name, *others}
    write_trainer_data(samples[:1], part, format, Silent())
    clear(part)
    assert list(part.iterdir()) == []


def test_samples_with_an_image_that_does_not_open_are_named_and_many_of_them_stop(samples, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((tmp_path / "blue.png").read_bytes()[:40])
    bad = [
        conversation(name, say("user", "<image>", "?"), say("assistant", "!"), images=(path,))
        for name, path in (("gone", tmp_path / "gone.png"), ("damaged", damaged))
    ]
    found = unreadable_images([*samples, *bad], Silent())
    assert sorted(found) == ["test/damaged", "test/gone"] and all(found.values())
    monkeypatch.setattr(unreadable, "MAX_UNREADABLE_IN_A_ROW", 2)
    with pytest.raises(DataError, match="images of 2 consecutive samples cannot be opened, the last those of test/dam"):
        unreadable_images([samples[1], *bad], Silent())
    assert len(unreadable_images([bad[0], samples[1], bad[1]], Silent())) == 2


def test_turns_that_are_not_to_be_learnt_are_flagged_or_their_loss_is_reported(samples, tmp_path, monkeypatch):
    turns = (say("user", "?"), say("assistant", "no"), say("user", "?"), say("assistant", "yes"))
    sample = Sample(id="test/turns", source="test", messages=turns, unlearnt=(1,))
    notes = Notes()
    data = write_trainer_data([sample], tmp_path, "messages", notes)
    weights = [turn.get("weight") for turn in json.loads(data.file.read_text(encoding="utf-8"))["messages"]]
    assert weights == [None, 0, None, 1] and notes.lines == []
    monkeypatch.setattr("adaptinf.runs.trainer_data.keeps_loss_flags", lambda *_: False)
    write_trainer_data([sample], tmp_path, "messages", notes)
    assert notes.lines[0].startswith(
        "warning: 1 sample with turns that are not to be learnt: rows of the format messages"
    )
