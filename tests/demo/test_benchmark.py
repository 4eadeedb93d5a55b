"""mini-liit: streams are generated once per seed, tests are never training data, base models alternate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration

from adaptinf.demo import benchmark as mini_liit
from adaptinf.demo.benchmark import BENCHMARKS, prepare
from adaptinf.demo.language_model import write_language_model
from adaptinf.demo.stream import BASE_PATH, BASE_PATHS
from adaptinf.errors import ConfigError


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every benchmark at the smallest size."""
    for name, benchmark in BENCHMARKS.items():
        small = replace(benchmark, scale=0.001, tests_per_skill=3, validation_per_skill=2)
        monkeypatch.setitem(mini_liit.BENCHMARKS, name, small)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_enough_tests_and_rare_skills(name: str) -> None:
    benchmark = BENCHMARKS[name]
    counts = benchmark.mixture.counts(benchmark.scale)
    totals = {skill: sum(skills.get(skill, 0) for skills in counts.values()) for skill in benchmark.mixture.skills}
    equal_share = sum(totals.values()) / len(totals)
    assert benchmark.tests_per_skill >= 200
    assert sum(total < equal_share / 2 for total in totals.values()) >= len(totals) / 4


@pytest.mark.parametrize("name", ["mini-liit-quick", "mini-liit-b-quick", "mini-liit-text"])
def test_no_test_item_is_in_training(name: str, tiny: None, tmp_path: Path) -> None:
    config = prepare(name, tmp_path, 1)
    folder = tmp_path / "seed-1"

    def contents(path: str) -> list[tuple[bytes, ...]]:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        images = [row.get("image", []) for row in rows]
        names = [[image] if isinstance(image, str) else image for image in images]
        return [
            (*((folder / "images" / name).read_bytes() for name in of_row), row["conversations"][0]["value"].encode())
            for row, of_row in zip(rows, names, strict=True)
        ]

    training = {content for dataset in config.stream for content in contents(dataset.path)}
    tests = [content for skill in config.evaluation for content in contents(skill.path)]
    assert len(tests) == 3 * len(config.evaluation)
    assert not training & set(tests)


def test_a_method_with_a_number_of_clusters_of_its_own_has_it_unless_the_user_says_otherwise(
    tiny: None, tmp_path: Path
) -> None:
    def clusters(*overrides: str, method: str | None) -> int | str:
        return prepare("mini-liit-quick", tmp_path, 0, overrides, method=method).clustering.clusters

    assert clusters(method=None) == clusters(method="adapt") == mini_liit.NUM_CLUSTERS
    assert clusters(method="adapt_plus") == "auto"
    assert clusters("clustering.clusters=7", method="adapt_plus") == 7


def test_data_are_written_once_per_seed_and_the_base_models_alternate(tiny: None, tmp_path: Path) -> None:
    configs = [prepare("mini-liit-quick", tmp_path, seed) for seed in range(len(BASE_PATHS) + 1)]
    assert [Path(config.model.path) for config in configs] == [*BASE_PATHS, BASE_PATH]
    assert [config.seed for config in configs] == [0, 1, 2, 3]
    stamp = (tmp_path / "seed-0" / "llava.json").stat().st_mtime_ns
    assert prepare("mini-liit-quick", tmp_path, 0) == configs[0]
    assert (tmp_path / "seed-0" / "llava.json").stat().st_mtime_ns == stamp


def test_the_validation_split_replaces_the_tests(tiny: None, tmp_path: Path) -> None:
    tested, validated = (prepare(f"mini-liit-quick{split}", tmp_path, 0) for split in ("", ":validation"))
    assert {Path(skill.path).parent.name for skill in tested.evaluation} == {"test"}
    assert {Path(skill.path).parent.name for skill in validated.evaluation} == {"validation"}
    assert tested.stream == validated.stream


def test_an_unknown_benchmark_is_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'mini-lit'; known: mini-liit, "):
        prepare("mini-lit", tmp_path, 0)


def test_the_text_only_model_is_the_language_model_of_the_base(tmp_path: Path) -> None:
    write_language_model(BASE_PATH, tmp_path)
    whole = LlavaForConditionalGeneration.from_pretrained(BASE_PATH, dtype=torch.float32)
    language = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    prompt = [{"role": "user", "content": "Repeat: red circle"}]
    inputs = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        assert torch.equal(whole(input_ids=inputs["input_ids"]).logits, language(input_ids=inputs["input_ids"]).logits)
