"""Text goes out as it came in: read, stored in a pool, written and read again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptinf.data import Sample
from adaptinf.formats import Format, read, write
from adaptinf.formats.llava import Llava
from adaptinf.formats.messages import Messages
from adaptinf.pool import add_dataset, stored_datasets

Row = dict[str, Any]
PIECES = st.lists(st.sampled_from(["<image>", "\n", " ", "a", "\n\n", "é", "<", "\r\n", "\u2028"]), max_size=7)
ANSWERS = st.sampled_from(["4", " 5\n", "\nNo.", "🙂 yes"])


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Return a LLaVA row with tags in any place, line breaks around them, and turns that are not learnt."""
    turns: list[Row] = [{"from": "system", "value": "\nBe brief.\n"}] if draw(st.booleans()) else []
    num_images = 0
    for number in range(draw(st.integers(1, 3))):
        question = "".join(draw(PIECES))
        num_images += question.count("<image>")
        flag = {"loss": False} if number and draw(st.booleans()) else {}
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": draw(ANSWERS), **flag}]
    tools = {"tools": [{"name": "weather"}]} if draw(st.booleans()) else {}
    images: Any = ["a.png"] * num_images
    return {**({"image": images} if num_images else {}), "conversations": turns, **tools}


def through_a_pool(folder: Path, source: Path) -> list[Sample]:
    """Return the samples of a file as a pool gives them back."""
    part = folder / "pool" / "00-d"
    add_dataset(
        folder / "pool", 0, "d", read(source, source="d"), images="reference", on_bad_row="stop", part=part, origin={}
    )
    (dataset,) = stored_datasets(folder / "pool")
    return [dataset.sample(row) for row in range(dataset.table.num_rows)]


def sent_and_read(folder: Path, samples: Sequence[Sample], plugin: Format) -> list[Sample]:
    write(samples, folder / "out.json", plugin)
    found = list(read(folder / "out.json", source="d"))
    assert all(isinstance(row, Sample) for row in found), found
    return [row for row in found if isinstance(row, Sample)]


@pytest.mark.parametrize("first", ["llava", "messages"])
@given(content=st.lists(rows(), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_text_goes_out_as_it_came_in(first: str, content: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        Image.new("RGB", (4, 4)).save(folder / "a.png")
        (folder / "in.json").write_text(json.dumps(content))
        kept = through_a_pool(folder, folder / "in.json")
        assert kept == list(read(folder / "in.json", source="d"))
        assert sent_and_read(folder, kept, Messages.fitting(kept) if first == "messages" else Llava()) == kept
        if first == "messages":
            # By way of blocks, the tags keep their line breaks too.
            kept = sent_and_read(folder, kept, Messages())
        assert sent_and_read(folder, kept, Llava()) == kept
        back = json.loads((folder / "out.json").read_text())
    assert [row["conversations"] for row in back] == [row["conversations"] for row in content]
    assert [json.loads(row.get("tools", "[]")) for row in back] == [row.get("tools", []) for row in content]


def test_a_folder_of_an_earlier_version_lacks_the_newer_columns_and_is_read(tmp_path: Path) -> None:
    import pyarrow as pa

    row = {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}], "id": "a"}
    (tmp_path / "in.json").write_text(json.dumps([row]))
    (sample,) = through_a_pool(tmp_path, tmp_path / "in.json")
    (dataset,) = stored_datasets(tmp_path / "pool")
    older = dataset.table.select(["id", "messages", "images", "source", "meta"])
    with pa.ipc.new_stream(str(tmp_path / "older.arrow"), older.schema) as stream:
        stream.write_table(older)
    (tmp_path / "older.arrow").replace(dataset.folder / "data-00000-of-00001.arrow")
    (reopened,) = stored_datasets(tmp_path / "pool")
    assert reopened.sample(0) == sample


def test_a_pool_with_turns_that_are_not_learnt_opens_in_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "5", "loss": False}]
    turns += [{"from": "human", "value": "?"}, {"from": "gpt", "value": "4"}]
    (tmp_path / "in.json").write_text(json.dumps([{"conversations": turns, "tools": '[{"name": "a"}]'}]))
    through_a_pool(tmp_path, tmp_path / "in.json")
    (row,) = datasets.load_from_disk(str(tmp_path / "pool" / "00-d"))
    assert (row["unlearnt"], json.loads(row["tools"])) == ([1], [{"name": "a"}])
