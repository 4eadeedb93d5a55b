"""Every `auto` and every default of the method is answered once; a run that has begun keeps its answers for good."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pytest
import yaml

from adaptinf import config as configuration
from adaptinf.config import DatasetConfig, RunConfig
from adaptinf.data import Evaluation, Features
from adaptinf.errors import ConfigError
from adaptinf.progress import Silent
from adaptinf.runs import Run
from adaptinf.runs.settings import FORMER_METHODS, FORMER_OPTIONS, resolve
from adaptinf.selection.methods.adapt_plus import AdaptPlus
from adaptinf.storage import store
from adaptinf.storage.tables import text_array
from tests.helpers.run_folders import edit_config

STREAM = [DatasetConfig(name="one", path="one.json")]
AUTO = RunConfig(stream=STREAM)


@dataclass(frozen=True)
class Notes(Silent):
    """Keeps the notes."""

    lines: list[str] = field(default_factory=list)

    def note(self, text):
        self.lines.append(text)


def with_method(method: str, **selection) -> RunConfig:
    return AUTO.model_copy(update={"selection": AUTO.selection.model_copy(update={"method": method, **selection})})


def begun(folder, config: RunConfig = AUTO) -> Run:
    """Return a run whose first step has begun, opened again."""
    Run.create(folder, config).pin_settings()
    (folder / "steps" / "00").mkdir()
    return Run.open(folder)


def former(folder, config: RunConfig) -> Run:
    """Return a run as version 0.1 left it: its pinned settings are a copy of config.yaml."""
    run = Run.create(folder, config)
    (folder / "steps" / "00").mkdir(parents=True)
    (folder / "steps" / "config.yaml").write_bytes((folder / "config.yaml").read_bytes())
    return replace(run)


@pytest.fixture
def other_defaults(monkeypatch):
    """A later version of adapt_plus: other answers, another default, and an option that it had not before."""
    from adaptinf import registry

    @dataclass(frozen=True, kw_only=True)
    class Later(AdaptPlus):
        wishes = {"extraction.vector": "fisher", "clustering.clusters": 7}
        auto_settings = wishes
        tail: float = 0.5
        novel: int = 1

    monkeypatch.setattr(type(registry.selector), "__getitem__", lambda self, name: Later)
    return Later


def test_what_the_method_is_asked_is_answered_and_the_rest_stays(tmp_path):
    run = Run.create(tmp_path, AUTO)
    assert run.config.extraction.vector == "auto" and run.config.pruning.cap == "auto"
    settings = run.settings
    assert (settings.extraction.vector, settings.extraction.image) == ("hidden", "unmeasured")
    assert settings.clustering.clusters == 300 and settings.pruning.cap == 100_000 and run.cap == 100_000
    assert settings.selection.options["tail"] == 0.05 and settings.selection.options["budgets"] == "equal"
    assert settings.training == AUTO.training and settings.stream == AUTO.stream


def test_a_users_own_value_is_no_auto():
    own = with_method("adapt_plus", budgets="root", options={"tail": 0.2}).model_copy(
        update={"extraction": AUTO.extraction.model_copy(update={"vector": "fisher"})}
    )
    settings = resolve(own)
    assert settings.extraction.vector == "fisher"
    assert settings.selection.options["budgets"] == "root" and settings.selection.options["tail"] == 0.2
    assert settings.selection.method_options == settings.selection.options


@pytest.mark.parametrize(
    ("method", "cap", "run_cap"), [("adapt", "auto", 100_000), ("adapt", "none", None), ("multitask", "auto", None)]
)
def test_the_cap_is_a_number_or_none(tmp_path, method, cap, run_cap):
    config = with_method(method).model_copy(update={"pruning": AUTO.pruning.model_copy(update={"cap": cap})})
    assert Run.create(tmp_path, config).cap == run_cap


def test_the_pinned_settings_hold_every_answer(tmp_path):
    begun(tmp_path)
    pinned = yaml.safe_load((tmp_path / "steps" / "config.yaml").read_text())
    assert pinned["made_by"]["resolved"] is True
    assert pinned["extraction"]["vector"] == "hidden" and pinned["clustering"]["clusters"] == 300
    assert pinned["pruning"]["cap"] == 100_000 and pinned["model"]["dtype"] in ("float32", "bfloat16")
    assert pinned["selection"]["options"]["tail"] == 0.05
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["extraction"]["vector"] == "auto"


def test_a_changed_default_applies_to_new_runs_only(tmp_path, other_defaults):
    assert Run.create(tmp_path / "new", AUTO).settings.extraction.vector == "fisher"
    assert Run.create(tmp_path / "new", AUTO).settings.selection.options["tail"] == 0.5


def test_a_run_that_has_begun_keeps_its_answers(tmp_path, request):
    before = begun(tmp_path).settings
    request.getfixturevalue("other_defaults")
    later = Run.open(tmp_path)
    assert later.settings == before
    assert later.pin_settings().settings.selection == before.selection


def test_a_run_of_version_0_1_has_the_answers_of_that_version(tmp_path, other_defaults):
    settings = former(tmp_path, AUTO).settings
    assert (settings.extraction.vector, settings.extraction.image) == ("hidden", "unmeasured")
    assert settings.clustering.clusters == 300 and settings.pruning.cap == 100_000
    assert settings.selection.options == {"budgets": "equal", "num_joint_clusters": 30, "tail": 0.05}


def test_a_run_of_version_0_1_continues_and_is_pinned_with_its_answers(tmp_path):
    run = former(tmp_path, with_method("adapt", budget=7)).pin_settings()
    assert run.settings.extraction.vector == "gradient" and run.settings.clustering.clusters == "auto"
    pinned = configuration.load(tmp_path / "steps" / "config.yaml")
    assert pinned.made_by.resolved and pinned.selection.options == FORMER_OPTIONS["adapt"] and pinned.pruning.cap == 28
    other = with_method("adapt", budget=8)
    edit_config(tmp_path, other)
    with pytest.raises(ConfigError, match=r"was made with selection.budget=7, now it is 8; put it back"):
        Run.open(tmp_path).pin_settings()


def test_the_engine_of_tests_may_change_until_something_is_tested(tmp_path):
    run = begun(tmp_path)
    assert run.settings.evaluation_engine == "hf"
    other = run.config.model_copy(update={"evaluation_engine": "vllm"})
    edit_config(tmp_path, other)
    assert Run.create(tmp_path, other).pin_settings().settings.evaluation_engine == "vllm"
    run.stage_folder(-1, Evaluation).mkdir(parents=True)
    edit_config(tmp_path, run.config)
    with pytest.raises(ConfigError, match=r"was made with evaluation_engine='vllm', now it is 'hf'; put it back"):
        Run.open(tmp_path).pin_settings()
    edit_config(tmp_path, other)
    with pytest.raises(ConfigError, match=r"was made with evaluation_engine='vllm', now it is 'hf'; choose another"):
        Run.create(tmp_path, run.config)


def test_the_table_of_former_answers_has_every_method_of_version_0_1():
    assert len(FORMER_METHODS) == 26 and set(FORMER_OPTIONS) < FORMER_METHODS
    for method in FORMER_METHODS:
        settings = resolve(with_method(method), with_method(method))
        assert settings.selection.options == dict(sorted(FORMER_OPTIONS.get(method, {}).items()))
        assert settings.extraction.vector == ("hidden" if method == "adapt_plus" else "gradient")
        assert settings.pruning.cap == ("none" if method == "multitask" else 100_000)


def test_writing_a_default_out_is_the_same_setting(tmp_path):
    begun(tmp_path)
    written = with_method("adapt_plus", budgets="equal").model_copy(
        update={"extraction": AUTO.extraction.model_copy(update={"vector": "hidden"})}
    )
    edit_config(tmp_path, written)
    assert Run.open(tmp_path).pin_settings().settings.extraction.vector == "hidden"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"options": {"tail": 0.1}}, r"selection.options.tail=0.05, now it is 0.1"),
        ({"budget": 9}, r"selection.budget=25000, now it is 9"),
        ({"method": "adapt"}, r"selection.method='adapt_plus', now it is 'adapt'"),
    ],
)
def test_an_edit_after_the_first_step_is_refused_by_the_setting_that_was_edited(tmp_path, edit, message):
    begun(tmp_path)
    edited = AUTO.model_copy(update={"selection": AUTO.selection.model_copy(update=edit)})
    edit_config(tmp_path, edited)
    with pytest.raises(ConfigError, match=message):
        Run.open(tmp_path).pin_settings()


def test_an_option_that_yaml_cannot_hold_stays_with_its_selector(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom adaptinf.registry import selector\n\n"
        "@selector('mine')\n@dataclass(frozen=True, kw_only=True)\nclass Mine:\n"
        "    needs: ClassVar[frozenset] = frozenset()\n    rule: object = print\n    share: float = 0.5\n"
        "    names: tuple = ('a', 'b')\n"
    )
    config = with_method("mine").model_copy(update={"plugins": [str(plugin)]})
    progress = Notes()
    run = Run.create(tmp_path / "run", config, progress=progress)
    assert run.settings.selection.options == {"names": ["a", "b"], "share": 0.5}
    run.pin_settings()
    (note,) = progress.lines
    assert "selection.options.rule cannot be written to" in note and "set the option to keep it" in note
    (tmp_path / "run" / "steps" / "00").mkdir()
    Run.open(tmp_path / "run", progress=progress).pin_settings()
    assert len(progress.lines) == 1, "said once, when the run begins"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("{'extraction.vector': 'hiden'}", r"what the method asking asks for: .*extraction.vector='hiden'"),
        ("{'extraction.vectr': 'hidden'}", r"extraction.vectr: unknown key; did you mean 'vector'"),
    ],
)
def test_a_method_that_asks_for_what_does_not_exist_is_refused(tmp_path, asked, message):
    plugin = tmp_path / "asking.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom adaptinf.registry import selector\n\n"
        "@selector('asking')\n@dataclass(frozen=True, kw_only=True)\nclass Asking:\n"
        f"    needs = frozenset()\n    auto_settings = {asked}\n"
    )
    config = with_method("asking").model_copy(update={"plugins": [str(plugin)]})
    with pytest.raises(ConfigError, match=re.compile(message, re.DOTALL)):
        _ = Run.create(tmp_path / "run", config).settings


def test_a_run_of_version_0_1_keeps_the_type_of_weights_that_its_features_record(tmp_path):
    run = former(tmp_path, AUTO)
    folder = run.stage_folder(0, Features)
    folder.mkdir(parents=True)
    Features(
        ids=text_array(["a"]), vectors=np.zeros((1, 2), np.float16), embeddings=np.zeros((1, 2), np.float16),
        scores={}, info={"model_dtype": "float16"},
    ).save(folder)  # fmt: skip
    assert run.pin_settings().settings.model.dtype == "float16"


def test_the_lock_is_held_for_the_block_and_a_missing_run_makes_no_folder(tmp_path):
    from adaptinf.errors import StoreError

    with pytest.raises(ConfigError, match="is not a run folder"), Run.locked(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
    Run.create(tmp_path / "run", AUTO)
    with Run.locked(tmp_path / "run") as run:
        assert run.config.stream == STREAM
        with pytest.raises(StoreError, match="is in use by process"), Run.locked(tmp_path / "run"):
            pass
    with Run.locked(tmp_path / "run"):
        pass


def test_the_day_that_templates_write_is_that_of_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "utc_now", lambda: "2026-01-02T03:04:05+00:00")
    begun(tmp_path)
    monkeypatch.setattr(store, "utc_now", lambda: "2027-08-09T10:11:12+00:00")
    later = Run.open(tmp_path)
    assert later.settings.model.date == later.pin_settings().settings.model.date == "2026-01-02"
    assert Run.create(tmp_path / "new", AUTO).settings.model.date == "2027-08-09"


def test_a_run_that_has_pinned_no_day_goes_on_with_that_of_its_newest_step(tmp_path):
    run = begun(tmp_path)
    pinned = yaml.safe_load(run.pinned_config_file.read_text())
    del pinned["model"]["date"]
    pinned["made_by"]["utc_time"] = "2025-12-31T23:59:59+00:00"
    run.pinned_config_file.write_text(yaml.safe_dump(pinned))
    assert Run.open(tmp_path).settings.model.date == "2025-12-31"


def test_a_day_is_written_with_or_without_quotes_and_nothing_else_is_one():
    assert configuration.with_settings(AUTO, {"model.date": date(2026, 1, 2)}, where="here").model.date == "2026-01-02"
    assert configuration.with_settings(AUTO, {"model.date": "2026-01-02"}, where="here").model.date == "2026-01-02"
    with pytest.raises(ConfigError, match=r"model\.date.*auto or a day such as 2026-11-28"):
        configuration.with_settings(AUTO, {"model.date": "2026-13-01"}, where="here")
