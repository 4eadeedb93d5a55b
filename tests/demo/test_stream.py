"""The stream is reproducible, has the documented mixture, is well-formed, and has separate tests."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from adaptinf.demo.mixture import LIIT, LIIT_B, TEXT
from adaptinf.demo.phrasing import HELD_OUT
from adaptinf.demo.skills import SKILLS
from adaptinf.demo.stream import write_stream

Row = dict[str, Any]

SCALE = 0.02
TESTS = 10
FAMILIES = {"vqa", "knowledge_vqa", "multilingual", "grounding", "reasoning", "language_only", "multi_image"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(
        tmp_path_factory.mktemp("stream"), scale=SCALE, tests_per_skill=TESTS, validation_per_skill=2
    ).parent


def rows_of(path: Path) -> list[Row]:
    return list(json.loads(path.read_text(encoding="utf-8")))


def training_rows(folder: Path) -> list[Row]:
    return [row for dataset in LIIT.sizes for row in rows_of(folder / f"{dataset}.json")]


def held_out_rows(folder: Path, split: str) -> list[Row]:
    return [row for skill in LIIT.skills for row in rows_of(folder / split / f"{skill}.json")]


def images_of(row: Row) -> list[str]:
    image = row.get("image", [])
    return [image] if isinstance(image, str) else list(image)


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (
        write_stream(tmp_path / name, scale=0.001, tests_per_skill=1, seed=seed, model_path="base").parent
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert fingerprint(first) == fingerprint(again)
    assert fingerprint(first) != fingerprint(other)


def test_tests_do_not_depend_on_the_scale(folder: Path, tmp_path: Path) -> None:
    other = write_stream(tmp_path, scale=0.001, tests_per_skill=TESTS).parent
    assert held_out_rows(folder, "test") == held_out_rows(other, "test")


def test_every_dataset_has_the_documented_number_of_each_skill(folder: Path) -> None:
    for dataset, wanted in LIIT.counts(SCALE).items():
        found = Counter(row["skill"] for row in rows_of(folder / f"{dataset}.json"))
        assert found == wanted


def test_full_scale_counts_follow_sizes_and_shares() -> None:
    counts = LIIT.counts(1.0)
    assert {dataset: sum(skills.values()) for dataset, skills in counts.items()} == LIIT.sizes
    assert sum(LIIT.sizes.values()) == 20_400
    assert all(sum(shares.values()) == pytest.approx(1) for shares in LIIT.shares.values())


def test_every_skill_and_every_family_occurs() -> None:
    assert {skill for mixture in (LIIT, LIIT_B, TEXT) for skill in mixture.skills} == set(SKILLS)
    for mixture in (LIIT, LIIT_B):
        assert {SKILLS[skill].family for skill in mixture.skills} == FAMILIES
    assert {SKILLS[skill].family for skill in TEXT.skills} == {"language_only"}


def test_rows_are_well_formed_with_one_tag_per_image(folder: Path) -> None:
    rows = training_rows(folder) + held_out_rows(folder, "test") + held_out_rows(folder, "validation")
    for row in rows:
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert all(turn["value"].strip() for turn in turns)
        assert sum(turn["value"].count("<image>") for turn in turns) == len(images_of(row))
        assert SKILLS[row["skill"]].family == row["family"]
        assert (row["family"] == "language_only") == (not images_of(row))
        assert (row["family"] == "multi_image") == (len(images_of(row)) > 1)


def test_images_exist_and_are_64_pixels(folder: Path) -> None:
    for row in held_out_rows(folder, "test") + rows_of(folder / "mantis.json"):
        for name in images_of(row):
            with Image.open(folder / "images" / name) as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")


def test_ids_are_unique_within_a_file(folder: Path) -> None:
    for dataset in LIIT.sizes:
        ids = [row["id"] for row in rows_of(folder / f"{dataset}.json")]
        assert len(ids) == len(set(ids))


def test_box_answers_are_four_ordered_integers_on_the_grid(folder: Path) -> None:
    answers = [row["conversations"][1]["value"] for row in training_rows(folder) if row["family"] == "grounding"]
    for answer in answers:
        assert re.fullmatch(r"\[\d, \d, \d, \d\]", answer)
        left, top, right, bottom = (int(number) for number in re.findall(r"\d", answer))
        assert 0 <= left < right <= 8 and 0 <= top < bottom <= 8


def test_no_held_out_item_occurs_in_training(folder: Path) -> None:
    def keys(rows: list[Row]) -> set[tuple[bytes, ...]]:
        return {
            (
                *((folder / "images" / name).read_bytes() for name in images_of(row)),
                *(turn["value"].encode() for turn in row["conversations"][:2]),
            )
            for row in rows
        }

    training, test, validation = (
        keys(rows)
        for rows in (training_rows(folder), held_out_rows(folder, "test"), held_out_rows(folder, "validation"))
    )
    assert not training & test and not training & validation and not test & validation


def test_text_only_questions_of_a_test_are_never_training_questions(folder: Path) -> None:
    training = {turn["value"] for row in training_rows(folder) for turn in row["conversations"]}
    questions = {row["conversations"][0]["value"] for row in held_out_rows(folder, "test") if not images_of(row)}
    assert questions and not questions & training


def test_held_out_paraphrases_are_only_in_tests(folder: Path) -> None:
    for name in ("count", "parity", "photo_name"):
        held_out = SKILLS[name].paraphrases[-HELD_OUT:]
        training = [row["conversations"][0]["value"] for row in training_rows(folder) if row["skill"] == name]
        assert not any(wording in question for wording in held_out for question in training)


def test_every_skill_has_ten_different_ways_to_ask() -> None:
    for skill in SKILLS.values():
        assert len(set(skill.paraphrases)) == 10


def test_some_conversations_have_two_turns_but_no_test_has(folder: Path) -> None:
    assert any(len(row["conversations"]) == 4 for row in training_rows(folder))
    assert all(len(row["conversations"]) == 2 for row in held_out_rows(folder, "test"))


def test_the_yaml_names_files_that_exist_relative_to_itself(folder: Path) -> None:
    config = yaml.safe_load((folder / "stream.yaml").read_text())
    assert [entry["name"] for entry in config["stream"]] == list(LIIT.sizes)
    for entry in config["stream"] + config["evaluation"]:
        assert (folder / entry["path"]).is_file() and (folder / entry["images"]).is_dir()
    assert {entry["skill"] for entry in config["evaluation"]} == set(LIIT.skills)
    assert {entry["introduced_at"] for entry in config["evaluation"]} <= {"base", *LIIT.sizes}
    assert (Path(config["model"]["path"]) / "model.safetensors").is_file()
    assert "method" not in config["selection"]
