"""The hash of a dataset's rows: the same from its file, without writing anything, as in its folder."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.formats import read
from adaptinf.pool.columns import Columns
from adaptinf.pool.content import ContentHash
from adaptinf.pool.intake import add_dataset, comparable_content_of, content_of, content_of_rows
from adaptinf.pool.merging import without_numbers
from tests.helpers.any_conversations import conversations
from tests.helpers.streams import rows, write_dataset


@pytest.mark.parametrize("images", ["reference", "copy"])
def test_the_rows_of_a_file_have_the_hash_that_its_dataset_has(tmp_path, images):
    entry = write_dataset(tmp_path, "one", rows(6))
    part, seen = tmp_path / "pool" / "00-one", []

    def given():
        return read(entry["path"], images=entry["images"], source="one")

    add_dataset(
        tmp_path / "pool", 0, "one", given(), images=images, on_bad_row="stop", part=part, origin={}
    )  # fmt: skip
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert content_of_rows(given(), images=images, on_row=lambda: seen.append(1)) == content_of(part)
    assert len(seen) == 6 and before == {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    other = write_dataset(tmp_path, "one", rows(6, word="stone"))
    changed = read(other["path"], images=other["images"], source="one")
    assert content_of_rows(changed, images=images, on_row=lambda: None) != content_of(part)


def test_a_hash_of_an_earlier_version_is_compared_with_one_of_its_kind(tmp_path):
    entry = write_dataset(tmp_path, "one", rows(6))
    part = tmp_path / "pool" / "00-one"
    samples = list(read(entry["path"], images=entry["images"], source="one"))
    add_dataset(tmp_path / "pool", 0, "one", samples, images="reference", on_bad_row="stop", part=part, origin={})
    content = xxhash.xxh3_128()
    for sample in samples:
        named = {key: sample.meta.get(key) for key in ("skill", "task")}
        extra = {key: value for key, value in sample.meta.items() if key not in named}
        row = {
            "id": sample.id,
            "messages": list(sample.messages),
            "images": list(map(str, sample.images)),
            "source": "one",
            "meta": {**named, "extra": json.dumps(extra) if extra else None},
            "unlearnt": [],
            "tools": None,
            "tags": list(sample.tags),
            "reductions": [],
        }
        content.update(json.dumps(row).encode())
    former = content.hexdigest()[:16]
    assert comparable_content_of(part, former) == former
    assert content_of_rows(samples, images="reference", on_row=lambda: None, former=True) == former
    assert comparable_content_of(part, None) == comparable_content_of(part, "c2-other") == content_of(part) != former


@given(cuts=st.lists(st.integers(0, 12), max_size=4), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_hash_depends_on_the_rows_alone_and_not_on_their_batches(cuts, data):
    samples = [data.draw(conversations()) for _ in range(4)]

    def hashed(parts):
        content = ContentHash()
        for part in parts:
            columns = Columns("toy")
            for sample in part:
                columns.add(sample, sample.id, 0, [str(image) for image in sample.images])
            content.add(without_numbers(columns.batch()))
        return content.hexdigest()

    whole = hashed([samples])
    places = sorted({0, 4, *(cut for cut in cuts if cut < 4)})
    assert hashed([samples[start:stop] for start, stop in pairwise(places)]) == whole
    assert hashed([samples[:3]]) != whole
