"""What a folder, a pattern or a dataset_info.json stands for, and what is refused because it is not clear."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from adaptinf.errors import DataError
from adaptinf.sources import find_source
from tests.helpers.data_files import rows, values_of, write_arrow, write_lines, write_parquet, write_tar


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        find_source(path, **options)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_shards_of_one_kind_are_one_dataset_subfolders_included_hidden_files_not(tmp_path: Path) -> None:
    write_parquet(tmp_path / "b" / "part-1.parquet", rows(4, 6))
    write_parquet(tmp_path / "b" / "part-0.parquet", rows(2, 4))
    write_parquet(tmp_path / "a.parquet", rows(0, 2))
    write_parquet(tmp_path / ".cache" / "x.parquet", rows(9, 10))
    (tmp_path / "._a.parquet").touch()
    (tmp_path / "README.md").write_text("# Data")
    assert values_of(tmp_path) == rows(0, 6)
    assert [Path(shard.name).name for shard in find_source(tmp_path).shards] == [
        "a.parquet",
        "part-0.parquet",
        "part-1.parquet",
    ]


def test_compressed_and_plain_files_are_of_one_kind(tmp_path: Path) -> None:
    import gzip

    write_lines(tmp_path / "b.jsonl", rows(2, 4))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows(0, 2)).encode()))
    assert values_of(tmp_path) == rows(0, 4)


def test_files_of_several_kinds_are_refused_with_their_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", rows(0, 2))
    write_lines(tmp_path / "b.jsonl", rows(0, 2))
    assert "several kinds: 1 jsonl (b.jsonl), 1 parquet (a.parquet); name a file, or those" in refused(tmp_path)
    assert values_of(f"{tmp_path}/*.parquet") == rows(0, 2)


def test_a_folder_reached_by_a_link_that_leads_back_is_read_once(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "a.jsonl", rows(0, 2))
    (tmp_path / "data" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert values_of(tmp_path) == rows(0, 2)


def test_images_are_relative_to_the_deepest_folder_of_all_shards(tmp_path: Path) -> None:
    write_lines(tmp_path / "a" / "one" / "x.jsonl", rows(0, 1))
    assert find_source(tmp_path).folder == tmp_path / "a" / "one"
    write_lines(tmp_path / "a" / "two.jsonl", rows(0, 1))
    assert find_source(tmp_path).folder == tmp_path / "a"
    assert find_source(f"{tmp_path}/a/*/*.jsonl").folder == tmp_path / "a" / "one"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/a.jsonl", "test/a.jsonl"),
        ("train-00000-of-00001.jsonl", "test-00000-of-00001.jsonl"),
        ("my_train.jsonl", "my_eval_2.jsonl"),
        ("data/training.jsonl", "data/val.jsonl"),
        ("rows.jsonl", "rows_test.jsonl"),
        ("trainset.jsonl", "testset.jsonl"),
    ],
)
def test_files_of_several_splits_need_a_split(tmp_path: Path, train: str, test: str) -> None:
    write_lines(tmp_path / train, rows(0, 2))
    write_lines(tmp_path / test, rows(2, 4))
    said = refused(tmp_path)
    assert "files of several splits" in said and train in said and test in said and said.endswith("name one with split")
    assert values_of(tmp_path, split="validation" if test.endswith("/val.jsonl") else "test") == rows(2, 4)
    if train != "rows.jsonl":
        assert values_of(tmp_path, split="train") == rows(0, 2)
    assert "has no split 'holdout'" in refused(tmp_path, split="holdout")


def test_a_split_may_be_called_by_any_of_its_words(tmp_path: Path) -> None:
    write_lines(tmp_path / "coco_val.jsonl", rows(0, 1))
    write_lines(tmp_path / "coco_training.jsonl", rows(1, 2))
    for word in ("val", "validation", "dev"):
        assert values_of(tmp_path, split=word) == rows(0, 1)
    assert values_of(tmp_path, split="train") == rows(1, 2)


def test_train_files_alone_need_no_split_and_a_split_may_have_any_name(tmp_path: Path) -> None:
    write_lines(tmp_path / "train-00000-of-00002.jsonl", rows(0, 2))
    write_lines(tmp_path / "train-00001-of-00002.jsonl", rows(2, 4))
    assert values_of(tmp_path) == values_of(tmp_path, split="train") == rows(0, 4)
    write_lines(tmp_path / "train_sft" / "0.jsonl", rows(4, 6))
    assert values_of(tmp_path, split="train_sft") == rows(4, 6)


def test_a_subset_is_a_subfolder(tmp_path: Path) -> None:
    for number, name in enumerate(("ai2d", "chartqa")):
        write_parquet(tmp_path / name / "train-00000-of-00001.parquet", rows(number, number + 1))
    assert values_of(tmp_path, subset="chartqa") == rows(1, 2)
    assert values_of(tmp_path) == rows(0, 2)
    assert "has no subset 'docvqa'; folders with data files: ai2d, chartqa" in refused(tmp_path, subset="docvqa")


def test_subsets_of_a_folder_with_a_card_are_those_of_the_card(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "a.parquet", rows(0, 2))
    write_parquet(tmp_path / "y" / "b.parquet", rows(2, 3))
    write_parquet(tmp_path / "y" / "c.parquet", rows(3, 4))
    configs = [
        {"config_name": "first", "data_files": "x/*.parquet"},
        {
            "config_name": "second",
            "data_files": [{"split": "train", "path": "y/b*"}, {"split": "extra", "path": "y/c*"}],
        },
    ]
    (tmp_path / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n# Data\n")
    assert values_of(tmp_path, subset="first") == rows(0, 2)
    assert values_of(tmp_path, subset="second", split="extra") == rows(3, 4)
    assert "has the subsets first, second; name one with subset" in refused(tmp_path)
    assert "has no subset 'secnd'; did you mean 'second'?" in refused(tmp_path, subset="secnd")
    assert "has the splits train, extra; name one with split" in refused(tmp_path, subset="second")


def test_a_card_may_name_the_folder_of_a_subset(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "a.parquet", rows(0, 2))
    write_parquet(tmp_path / "y" / "b.parquet", rows(2, 3))
    (tmp_path / "README.md").write_text("---\nconfigs:\n- config_name: first\n  data_dir: x\n---\n")
    assert values_of(tmp_path) == rows(0, 2)


def test_a_folder_of_save_to_disk_is_read_by_its_state(tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(rows(0, 10))
    made.save_to_disk(tmp_path / "one", num_shards=3)
    write_arrow(tmp_path / "one" / "cache-1.arrow", rows(90, 91))
    assert values_of(tmp_path / "one") == rows(0, 10)
    assert "is one split" in refused(tmp_path / "one", split="train")
    datasets.DatasetDict({"train": made, "test": datasets.Dataset.from_list(rows(10, 12))}).save_to_disk(
        tmp_path / "two"
    )
    assert values_of(tmp_path / "two", split="test") == rows(10, 12)
    assert "has the splits train, test; name one with split" in refused(tmp_path / "two")
    assert "has no split 'dev'; it has train, test" in refused(tmp_path / "two", split="dev")
    (tmp_path / "two" / "train" / "data-00000-of-00001.arrow").unlink()
    said = refused(tmp_path / "two", split="train")
    assert "data-00000-of-00001.arrow does not exist, but train/state.json names it" in said


def test_a_folder_of_saved_folders_is_read_by_subset(tmp_path: Path) -> None:
    for number in range(2):
        datasets.Dataset.from_list(rows(number, number + 1)).save_to_disk(tmp_path / f"part{number}")
    assert values_of(tmp_path, subset="part1") == rows(1, 2)


def entries(folder: Path, **values: Any) -> Path:
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(values))
    return path


def test_entries_of_a_dataset_info_are_subsets_and_describe_their_rows(tmp_path: Path) -> None:
    write_lines(tmp_path / "one.jsonl", rows(0, 2))
    write_parquet(tmp_path / "parts" / "0.parquet", rows(2, 4))
    first = {"file_name": "one.jsonl", "formatting": "sharegpt", "columns": {"messages": "turns"}}
    path = entries(tmp_path, first=first, second={"file_name": "parts"})
    for place in (tmp_path, path):
        assert values_of(place, subset="first") == rows(0, 2)
        assert values_of(place, subset="second") == rows(2, 4)
        assert find_source(place, subset="first").description == first
        assert "describes first, second; name one with subset" in refused(place)
        assert "has no entry 'frist'; did you mean first?" in refused(place, subset="frist")
    entries(tmp_path, first=first)
    assert find_source(tmp_path).description == first


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"file_name": "none.json"}, "none.json does not exist; correct file_name"),
        ({"ms_hub_url": "a/b"}, "named by ms_hub_url, which is not read; download them and set file_name"),
    ],
)
def test_an_entry_without_readable_rows_is_refused_by_name(tmp_path: Path, entry: dict[str, str], said: str) -> None:
    assert said in refused(entries(tmp_path, only=entry))


def test_a_file_has_neither_subsets_nor_splits(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", rows(0, 1))
    assert "leave out subset: x" in refused(path, subset="x")
    assert "leave out split: x" in refused(path, split="x")


def test_a_pattern_stands_for_the_data_files_that_match(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"deep/{number}/x-{number}.tar", {f"{number}.txt": "a"})
    (tmp_path / "deep/0/sizes.json").write_text("{}")
    assert len(values_of(f"{tmp_path}/**/*.tar")) == 3
    assert len(values_of(f"{tmp_path}/deep/[01]/*.tar")) == 2
    assert "no data file" in refused(f"{tmp_path}/*.parquet")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a[1].jsonl", rows(0, 1))
    assert values_of(path) == rows(0, 1)


def test_the_only_shard_of_a_folder_is_no_name_for_it(tmp_path: Path) -> None:
    only = write_parquet(tmp_path / "charts" / "train-00000-of-00001.parquet", rows(0, 2))
    assert find_source(tmp_path / "charts").name == "charts"
    assert find_source(f"{tmp_path}/charts/*.parquet").name == "charts"
    assert find_source(only).name == "train-00000-of-00001"
    datasets.Dataset.from_list(rows(0, 2)).save_to_disk(tmp_path / "saved")
    assert find_source(tmp_path / "saved").name == "saved"
    write_lines(tmp_path / "one" / "rows.jsonl", rows(0, 2))
    assert find_source(tmp_path / "one").name == "rows"


def test_a_file_that_is_there_compressed_as_well_is_not_read_twice(tmp_path: Path) -> None:
    plain = write_lines(tmp_path / "a.jsonl", rows(0, 2))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert "holds a.jsonl.gz and a.jsonl, the same rows twice; name one of them" in refused(tmp_path)
    assert values_of(plain) == rows(0, 2)
