"""stream.yaml: wrong keys are told with the nearest right one, all at once; what is written is read back unchanged."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptinf import config as configuration
from adaptinf.config import (
    DatasetConfig,
    ExtractionConfig,
    LoraConfig,
    ModelConfig,
    PruningConfig,
    RunConfig,
    SelectionConfig,
    SkillConfig,
    TrainingConfig,
)
from adaptinf.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "stream.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, overrides: list[str] | None = None) -> RunConfig:
    return configuration.load(write(folder, text), overrides)


@pytest.mark.parametrize(
    ("text", "place", "near"),
    [
        ("modell: {path: x}", "modell", "model"),
        ("selection: {buget: 5}", "selection.buget", "budget"),
        ("model: {lora: {rnak: 5}}", "model.lora.rnak", "rank"),
        ("stream: [{name: a, path: b, image: c}]", "stream.0.image", "images"),
        ("evaluation: [{skill: a, path: b, metrics: f1}]", "evaluation.0.metrics", "metric"),
        ("training: {lr: 1}", "training.lr", None),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path, text, place, near):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert f"{place}: unknown key" in message
    assert (f"did you mean {near!r}?" if near else "known here: adapter, arguments, batch_size") in message


def test_all_mistakes_are_told_at_once_with_their_values(tmp_path):
    text = "selection: {budget: 0, methd: adapt}\ntraining: {epochs: none}\nstream: [{name: 'a/b', path: x}]\nseed: -1"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "stream.yaml: 5 mistakes" in message
    for expected in (
        "selection.budget=0",
        "selection.methd",
        "training.epochs='none'",
        "stream.0.name='a/b'",
        "seed=-1",
    ):
        assert expected in message


def test_a_value_that_fits_no_branch_of_a_union_is_one_mistake(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "pruning: {cap: many}")
    message = str(caught.value)
    assert "1 mistake\n  pruning.cap='many': " in message
    assert "'auto' or 'none'" in message and "valid integer" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not valid YAML"),
        ("- just\n- a list", "must hold keys and values"),
        ("stream: [{name: a, path: x}, {name: a, path: y}]", "'a' is used twice"),
        ("evaluation: [{skill: s, path: x}, {skill: s, path: y}]", "'s' is used twice"),
        ("stream: [{name: ../up, path: x}]", "stream.0.name='../up'"),
        ("stream: {name: a}", "stream"),
        ("model: 5", "model=5"),
        ("[" * 2000, "is not valid YAML"),
    ],
)
def test_what_is_no_configuration_is_a_config_error(tmp_path, text, reason):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert reason in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml is not a file"):
        configuration.load(tmp_path / "nowhere.yaml")


def test_an_empty_file_means_the_defaults(tmp_path):
    assert load(tmp_path, "") == RunConfig()


def test_set_overrides_nested_keys_and_list_entries(tmp_path):
    text = "stream: [{name: a, path: x}, {name: b, path: y}]\nselection: {budget: 5}\ntraining:\n"
    overrides = [
        "selection.budget=7",
        "training.learning_rate=1.0e-5",
        "model.lora.rank=4",
        "stream.1.path=z",
        "training.report_to=[tensorboard]",
        "extraction.model=null",
        "pruning.cap=null",
    ]
    config = load(tmp_path, text, overrides)
    assert config.selection.budget == 7
    assert config.training.learning_rate == 1.0e-5
    assert config.model.lora.rank == 4
    assert [dataset.path for dataset in config.stream] == ["x", "z"]
    assert config.training.report_to == ["tensorboard"]
    assert config.extraction.model is None
    assert config.pruning.cap == "none"


@pytest.mark.parametrize(
    "override",
    ["budget", "=5", "selection.budgte=5", "stream.3.path=x", "stream.first.path=x", "seed.a=5", "seed=[", "model=1"],
)
def test_a_wrong_override_is_a_config_error_that_names_it(tmp_path, override):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "seed: 0\nstream: [{name: a, path: x}]", [override])
    assert override.partition("=")[0].split(".")[-1] in str(caught.value)


def test_relative_paths_count_from_the_folder_of_the_file_not_from_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    text = (
        "model: {path: data}\nstream: [{name: a, path: data, images: data}]\nplugins: [data]\n"
        "evaluation: [{skill: s, path: data}]\nextraction: {model: data}"
    )
    config = load(tmp_path, text)
    here = str(tmp_path / "data")
    assert config.model.path == config.extraction.model == here
    assert config.stream[0].path == config.stream[0].images == here
    assert config.plugins == [here] and config.evaluation[0].path == here


def test_a_path_that_is_nowhere_stays_as_it_was_written(tmp_path):
    assert load(tmp_path, "model: {path: someone/some-model}").model.path == "someone/some-model"


def test_every_key_has_a_line_of_help_and_the_written_file_shows_it():
    def check(section):
        for name, field in section.model_fields.items():
            assert field.description, (section, name)

    for section in (RunConfig, ModelConfig, LoraConfig, ExtractionConfig, SelectionConfig, TrainingConfig, SkillConfig):
        check(section)
    written = configuration.to_yaml(RunConfig())
    assert "# Samples to train on in one step.\n  budget: 25000" in written


# PyYAML reads the one character U+0085 as a line break.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"), min_size=1, max_size=120).map(
    lambda words: f"no such {words}"
)
names = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
configs = st.builds(
    RunConfig,
    model=st.builds(
        ModelConfig,
        path=text,
        dtype=st.sampled_from(["auto", "bfloat16"]),
        lora=st.builds(
            LoraConfig,
            rank=st.integers(1, 999),
            alpha=st.floats(1e-9, 1e9),
            target_modules=st.none() | st.lists(text, max_size=3),
        ),
        trust_remote_code=st.booleans(),
    ),
    stream=st.lists(
        st.builds(DatasetConfig, name=names, path=text, images=st.none() | text), max_size=3, unique_by=lambda d: d.name
    ),
    extraction=st.builds(
        ExtractionConfig,
        layers=st.sampled_from(["middle", "last", 3, [1, 2]]),
        batch_tokens=st.just("auto") | st.integers(1, 10**9),
    ),
    training=st.builds(TrainingConfig, learning_rate=st.floats(1e-12, 1e3), report_to=st.lists(text, max_size=2)),
    pruning=st.builds(PruningConfig, cap=st.sampled_from(["auto", "none", 5])),
    evaluation=st.lists(
        st.builds(SkillConfig, skill=text, path=text, introduced_at=st.none() | text | st.just("0")),
        max_size=2,
        unique_by=lambda s: s.skill,
    ),
    plugins=st.lists(text, max_size=2),
    seed=st.integers(0, 2**63),
)


def test_line_breaks_of_every_kind_survive_being_written(tmp_path):
    odd = "a\nb\r\nd\u2028e\x0bf\x1cg\t # h: 'i' \"j\" " + "long " * 40 + "\n\n end "
    config = RunConfig(
        model=ModelConfig(path=odd),
        stream=[DatasetConfig(name="a", path=odd)],
        evaluation=[SkillConfig(skill=odd, path="~")],
        plugins=[odd, "null", "1.0", ""],
    )
    assert load(tmp_path, configuration.to_yaml(config)) == config


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configs)
def test_what_is_written_as_yaml_is_read_back_unchanged(tmp_path, config):
    assert load(tmp_path, configuration.to_yaml(config)) == config
