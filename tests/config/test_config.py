"""stream.yaml: wrong keys are told with the nearest right one, all at once; what is written is read back unchanged."""

from __future__ import annotations

import glob
import string
from pathlib import Path

import pytest
import yaml
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
from adaptinf.sources import find_source


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
        ("training: {lr: 1}", "training.lr", "learning_rate"),
        ("training: {zzzz: 1}", "training.zzzz", None),
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


def test_a_file_that_is_no_utf_8_is_named_with_the_line(tmp_path):
    (tmp_path / "stream.yaml").write_bytes(b"seed: 1\nmodel: {path: caf\xe9}\n")
    with pytest.raises(ConfigError, match="stream.yaml is not valid YAML: line 2 is no UTF-8 text; save the file"):
        configuration.load(tmp_path / "stream.yaml")


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate: 1.0e-5", "learning_rate: unknown key; did you mean 'training.learning_rate'?"),
        ("lerning_rate: 1.0e-5", "lerning_rate: unknown key; did you mean 'training.learning_rate'?"),
        ("selection: {learning_rate: 1.0e-5}", "did you mean 'training.learning_rate'?"),
        ("model: {rank: 4}", "model.rank: unknown key; did you mean 'model.lora.rank'?"),
        ("budget: 5", "budget: unknown key; did you mean 'selection.budget'?"),
        ("introduced_at: x", "did you mean 'evaluation.0.introduced_at'?"),
        ("pruning: {cap: atuo}", "pruning.cap='atuo': did you mean 'auto'?"),
        ("training: {tune: LoRA}", "training.tune='LoRA': did you mean 'lora'?"),
        ("extraction: {layers: midle}", "extraction.layers='midle': did you mean 'middle'?"),
        ("clustering: {clusters: auot}", "clustering.clusters='auot': did you mean 'auto'?"),
        ("model: {dtype: float23}", "did you mean 'float32'?"),
        ("selection: {budgets: 2}", "; did you mean selection.budget?"),
        ("selection: {budget: root}", "; did you mean selection.budgets?"),
    ],
)
def test_what_was_probably_meant_is_suggested_in_files_and_settings(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert expected in str(caught.value)
    ((section, values),) = yaml.safe_load(text).items()
    pairs = (
        {f"{section}.{key}": value for key, value in values.items()} if isinstance(values, dict) else {section: values}
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "", [f"{key}={value}" for key, value in pairs.items()])
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("training:\n  epochs: 2\nmodel: {path: x}\ntraining:\n  tune: full\n", "training", (1, 4)),
        ("model:\n  lora:\n    rank: 3\n    alpha: 2\n    rank: 4\n", "rank", (3, 5)),
        ("selection: {budget: 5,\n  budget: 5}\n", "budget", (1, 2)),
        ("selection: {options: {a: 1, a: 1}}\n", "a", (1, 1)),
        ("stream:\n- name: a\n  path: x\n  name: b\n", "name", (2, 4)),
        ("model: {<<: {path: x}, <<: {path: y}}\n", "<<", (1, 1)),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, text, name, lines):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = f"{name!r} stands twice in one section, in line {lines[0]} and in line {lines[1]}; keep one"
    assert str(tmp_path / "stream.yaml") in str(caught.value) and message in str(caught.value)


def test_a_merged_key_may_be_replaced(tmp_path):
    text = "model: &base {path: x, max_length: 99}\nextraction: {}\nstream: []\n"
    assert load(tmp_path, text).model.max_length == 99
    merged = "pruning: &p {cap: 5, order: semdedup}\nstream: []\n"
    assert load(tmp_path, merged).pruning.cap == 5
    own = "stream:\n- &a {name: a, path: x, images: y}\n- {<<: *a, name: b}\n- {name: c, <<: *a}\n"
    assert [(one.name, one.path, one.images) for one in load(tmp_path, own).stream] == [
        ("a", "x", "y"), ("b", "x", "y"), ("c", "x", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "2024-13-45",
        "9" * 5000,
        "!!float abc",
        "!!int x",
        "!!python/object:os.system x",
        "!!binary é",
        "*nothing",
        "!!timestamp x",
    ],
)
def test_a_value_that_yaml_cannot_read_is_told_with_its_place(tmp_path, value):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"model: {{path: x}}\nseed: {value}\n")
    message = str(caught.value)
    assert "stream.yaml is not valid YAML" in message and "line 2" in message and len(message.splitlines()) == 1
    assert len(message.splitlines()) == 1
    assert len(message.replace(str(tmp_path), "")) < 400
    with pytest.raises(ConfigError, match="--set seed="):
        load(tmp_path, "", [f"seed={value}"])


@pytest.mark.parametrize(
    "value", ["2024-01-01", ".inf", ".nan", "1e999", "0b11111111111111111", "null", "[1]", "{a: 1}"]
)
def test_a_value_of_another_kind_is_a_mistake_with_its_place(tmp_path, value):
    with pytest.raises(ConfigError, match=r"training\.(learning_rate|tune)"):
        load(tmp_path, f"training: {{tune: {value}, learning_rate: {value}}}")


def test_a_deep_file_is_refused(tmp_path):
    for text in ("[" * 100_000, "{a: " * 100_000, "- " * 100_000 + "x"):
        with pytest.raises(ConfigError):
            load(tmp_path, text)


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
        "model: {path: data}\nstream:\n- {name: a, path: data, images: data}\n"
        "- {name: b, path: data, images: [data, gone]}\nplugins: [data]\n"
        "evaluation: [{skill: s, path: data}]\nextraction: {model: data}"
    )
    config = load(tmp_path, text)
    here = str(tmp_path / "data")
    assert config.model.path == config.extraction.model == here
    assert config.stream[0].path == config.stream[0].images == here
    assert config.stream[1].images == [here, "gone"] and config.stream[1].image_folders == (here, "gone")
    assert config.plugins == [here] and config.evaluation[0].path == here


def test_a_path_that_is_nowhere_stays_as_it_was_written(tmp_path):
    assert load(tmp_path, "model: {path: someone/some-model}").model.path == "someone/some-model"


def test_patterns_become_absolute_and_addresses_and_names_of_the_hub_stay(tmp_path, monkeypatch):
    here = tmp_path / "run [1]"
    (here / "data").mkdir(parents=True)
    (here / "data" / "a.parquet").touch()
    monkeypatch.chdir(tmp_path)
    paths = ["data/*.parquet", "memory://data/*.parquet", "s3://bucket/a.json", "owner/name", "data/*.json"]
    stream = "".join(f"\n- {{name: d{number}, path: '{path}'}}" for number, path in enumerate(paths))
    config = load(here, f"stream:{stream}\n")
    first, *others = [dataset.path for dataset in config.stream]
    assert glob.glob(first) == [str(here / "data" / "a.parquet")]
    assert others == paths[1:]
    (source,) = [find_source(first)]
    assert source.folder == here / "data"


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
        st.builds(
            DatasetConfig, name=names, path=text, images=st.none() | text | st.lists(text, min_size=2, max_size=3)
        ),
        max_size=3,
        unique_by=lambda d: d.name,
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


def test_one_image_folder_is_the_same_with_and_without_a_list(tmp_path: Path) -> None:
    text = "stream: [{name: a, path: x, images: IMAGES}]\nevaluation: [{skill: s, path: x, images: IMAGES}]"
    one, listed = (load(tmp_path, text.replace("IMAGES", images)) for images in ("y", "[y]"))
    assert one == listed and one.stream[0].images == "y" and one.evaluation[0].image_folders == ("y",)
    with pytest.raises(ConfigError, match="must name at least one folder"):
        load(tmp_path, text.replace("IMAGES", "[]"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {lora: {experts: true, dora: true}}", "model.lora: experts: true and dora: true do not go together"),
        ("model: {lora: {experts: true, pissa: true}}", "model.lora: experts: true and pissa: true do not go"),
        ("model: {lora: {experts: true, dropout: 0.1}}", "model.lora: experts: true and dropout do not go together"),
        ("model: {lora: {dora: true, pissa: true}}", "model.lora: dora: true and pissa: true do not go together"),
        ("model: {quantization: 4bit, lora: {pissa: true}}", "quantization: 4bit and lora.pissa: true do not go"),
        ("model: {quantization: 8bit, projector: trained}", "quantization: 8bit and projector: trained do not go"),
        ("{model: {quantization: 4bit}, training: {tune: full}}", "training.tune: full changes weights"),
        ("{model: {quantization: 4bit}, training: {adapter: merge}}", "set training.adapter: continue"),
        (
            "{model: {lora: {experts: true}}, extraction: {vector: zeroth_order}}",
            "zeroth_order moves the factors of plain adapters, not those of model.lora.experts",
        ),
        ("{model: {lora: {dora: true}}, extraction: {vector: zeroth_order}}", "not those of model.lora.dora"),
        ("{model: {lora: {pissa: true}}, training: {command: ./train}}", "pissa: true is of the built-in trainer"),
        ("model: {attention: flash}", "model.attention='flash'"),
        ("model: {quantization: 2bit}", "model.quantization='2bit'"),
    ],
)
def test_settings_of_the_model_that_cannot_work_together_are_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        configuration.load(write(tmp_path, text))
    assert message in str(caught.value), str(caught.value)
