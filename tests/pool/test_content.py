"""The hash of a dataset's rows: the same from its file, without writing anything, as in its folder."""

from __future__ import annotations

import pytest

from adaptinf.formats import read
from adaptinf.pool.intake import add_dataset, content_of, content_of_rows
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
