"""Whole runs on tiny streams: adapters over steps, streams at their edges, every method, a model without images."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adaptinf import config as configuration
from adaptinf import registry
from adaptinf.data import Checked, Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.errors import ConfigError, DataError, ModelError
from adaptinf.extraction.refresh import plan
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.blocks import lora_targets
from adaptinf.models.chat import encode
from adaptinf.pipeline import choosing, learning, measuring, run_all, run_step
from adaptinf.progress import Silent
from adaptinf.report import write_report
from adaptinf.report.facts import gather
from adaptinf.results.recording import record_of
from adaptinf.runs import STAGES, Run, learners, preflight
from adaptinf.runs.learners import learner_after, learner_before
from adaptinf.runs.sample_history import history_of
from adaptinf.runs.status import status_of
from adaptinf.selection import Traits
from adaptinf.storage import tables
from tests.helpers.conversations import conversation, say
from tests.helpers.plugin_files import WHOLE_POOL_METHOD
from tests.helpers.streams import row, rows, write_dataset, write_stream, write_test
from tests.helpers.text_model import write_text_model

EXAMPLES = Path(__file__).parent.parent / "examples"
QUESTION = conversation("q", say("user", "Colour of thing 3?"), say("assistant", "red"))


pytestmark = pytest.mark.usefixtures("one_thread")


def run(folder: Path, datasets, tests=None, *, name="run", **changes) -> Run:
    """Take a stream through the figure and return the run."""
    stream = write_stream(folder / f"{name}.yaml", datasets, tests, **changes)
    made = Run.create(folder / name, configuration.load(stream))
    run_all(made)
    return made


def selected(run: Run, step: int) -> list[str]:
    return tables.read_table(run.stage_folder(step, Selection) / "selection.parquet")["id"].tolist()


def pruned(run: Run, step: int) -> list[str]:
    return tables.read_table(run.stage_folder(step, SavedPruning) / "pruned.parquet")["id"].tolist()


def logits(learner) -> torch.Tensor:
    with torch.no_grad():
        return learner.model(**encode(learner, [QUESTION], [[]]).inputs).logits


def plus_adapter(learner, folder: Path, scale: float) -> None:
    """Add a saved adapter to the weights, by the definition: W + s B A. In place."""
    saved = load_file(folder / "adapter_model.safetensors")
    with torch.no_grad():
        for name in lora_targets(learner.model, None):
            down, up = (saved[f"base_model.model.{name}.lora_{factor}.weight"] for factor in "AB")
            learner.model.get_submodule(name).weight += scale * up @ down


LORA = {"tune": "lora", "learning_rate": 5.0e-3, "batch_size": 2, "micro_batch_size": 2}


@pytest.fixture(scope="module")
def two_datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return [write_dataset(folder, "one", rows(10)), write_dataset(folder, "two", rows(10, word="item"))]


def test_with_continue_a_step_starts_from_the_adapter_of_the_step_before(two_datasets, tmp_path, monkeypatch):
    started = []
    real = learning.train

    def spy(samples, learner, *args, **options):
        started.append({name: weight.clone() for name, weight in learner.model.state_dict().items() if "lora_" in name})
        return real(samples, learner, *args, **options)

    monkeypatch.setattr(learning, "train", spy)
    made = run(tmp_path, two_datasets, training=LORA)
    assert all(not weight.any() for name, weight in started[0].items() if "lora_B" in name)
    saved = load_file(made.stage_folder(0, Trained) / "adapter_model.safetensors")
    assert any(weight.any() for name, weight in saved.items() if "lora_B" in name)
    for name, weight in started[1].items():
        assert torch.equal(weight, saved[name.replace(".default", "")]), name
    expected = load(made.config.model)
    plus_adapter(expected, made.stage_folder(1, Trained), scale=8 / 4)
    torch.testing.assert_close(logits(learner_after(made, 1).make()), logits(expected), rtol=1e-4, atol=1e-4)
    # What training at step 2 would start with computes the same as the model after step 1.
    torch.testing.assert_close(logits(learner_before(made, 2).make()), logits(expected), rtol=1e-4, atol=1e-4)
    assert not (made.stage_folder(1, Trained) / "model.safetensors").exists()


def test_with_merge_the_model_is_the_base_and_every_adapter(two_datasets, tmp_path):
    model = {"projector": "trained"}
    made = run(tmp_path, two_datasets, training={**LORA, "adapter": "merge"}, model=model)
    expected = load(made.config.model)
    before = expected.model.model.multi_modal_projector.linear_1.weight.clone()
    for step in (0, 1):
        plus_adapter(expected, made.stage_folder(step, Trained), scale=8 / 4)
    after = learner_after(made, 1).make()
    torch.testing.assert_close(logits(after), logits(expected), rtol=1e-4, atol=1e-4)
    first = load(made.config.model)
    plus_adapter(first, made.stage_folder(0, Trained), scale=8 / 4)
    assert not torch.allclose(logits(first), logits(expected), atol=1e-3), "the second adapter counts"

    # The projector was trained, lies with the adapter and comes back with it.
    saved = load_file(made.stage_folder(1, Trained) / "adapter_model.safetensors")
    (kept,) = [weight for name, weight in saved.items() if name.endswith("multi_modal_projector.linear_1.weight")]
    assert torch.equal(after.model.model.multi_modal_projector.linear_1.weight, kept)
    assert not torch.equal(kept, before)
    # A new adapter begins where the merged model is.
    torch.testing.assert_close(logits(learner_before(made, 2).make()), logits(after), rtol=1e-5, atol=1e-5)


def test_learners_from_the_run_folder_are_the_same_every_time(two_datasets, tmp_path):
    made = run(tmp_path, two_datasets[:1], training=LORA)
    again = Run.open(made.folder)
    for which in (learner_before, learner_after):
        assert which(made, 0).make().fingerprint == which(again, 0).make().fingerprint
    assert learner_after(made, -1).make().fingerprint == load(made.config.model).fingerprint
    fresh = begin_adapter(load(made.config.model), made.seed("adapter", 0))
    assert learners.learner_that_measures(made, 0).make().fingerprint == fresh.fingerprint


def test_a_run_replayed_from_its_own_configuration_selects_the_same(two_datasets, tmp_path):
    first = run(tmp_path, two_datasets)
    config = configuration.load(first.folder / "config.yaml").model_copy(update={"made_by": None})
    second = Run.create(tmp_path / "again", config)
    run_all(second)
    for step in (0, 1):
        assert selected(first, step) == selected(second, step)
        assert pruned(first, step) == pruned(second, step)
    assert [len(selected(first, step)) for step in (0, 1)] == [8, 8]
    assert len(first.pool(2)) == 16
    assert not set(pruned(first, 0)) & set(pruned(first, 1))
    # Vectors of older steps are dropped, their scores stay.
    assert not (first.stage_folder(0, Features) / "vectors.npy").exists()
    assert (first.stage_folder(0, Features) / "scores.parquet").exists()
    assert (first.stage_folder(1, Features) / "vectors.npy").exists()


EDGES = {
    "one row": [rows(1)],
    "smaller than the budget": [rows(3)],
    "text only": [rows(6, images=False)],
    "an empty dataset first": [[], rows(6)],
    "an empty dataset last": [rows(6), []],
    "nothing but empty datasets": [[], []],
    "all rows rejected": [[row(n, "?", "", skill="s") for n in range(3)], rows(4)],
    "the same row again and again": [[row(n, "?", "!", skill="s") for n in range(6)]],
}


@pytest.mark.parametrize(
    ("edge", "tune"),
    [*((edge, "full") for edge in EDGES), ("an empty dataset first", "lora"), ("an empty dataset last", "lora")],
)
def test_streams_at_their_edges_run_to_the_end(tmp_path, edge, tune):
    datasets = [write_dataset(tmp_path, f"d{number}", content) for number, content in enumerate(EDGES[edge])]
    made = run(tmp_path, datasets, training={"tune": tune}, pruning={"cap": 5})
    usable = 0
    for step, content in enumerate(EDGES[edge]):
        num_new = sum(bool(item["conversations"][1]["value"]) for item in content)
        assert len(selected(made, step)) == min(8, usable + num_new)
        usable = min(5, usable + num_new)
        info = tables.read_json(made.dataset_folder(step) / "info.json")
        assert (info["rows"], info["rejected"]) == (num_new, len(content) - num_new)
    assert len(made.pool(len(datasets))) == usable
    assert made.num_finished == len(datasets)
    if not any(EDGES[edge]):
        assert "The pool of step 2 is empty." in write_report([made.folder], tmp_path / "report.html").read_text()
        assert learner_after(made, 1).make().fingerprint == load(made.config.model).fingerprint


def test_sequential_does_not_learn_older_data_again_where_nothing_is_new(tmp_path):
    datasets = [write_dataset(tmp_path, "one", rows(6)), write_dataset(tmp_path, "two", [])]
    made = run(tmp_path, datasets, selection={"method": "sequential"})
    assert len(selected(made, 0)) == 6 and selected(made, 1) == []


WHOLE_STEPS = (
    "adapt", "lite_adapt", "random_replay", "sequential", "multitask", "cluster_balanced", "oracle", "semdedup_random",
    "dbp", "coincide", "grand_top", "visnec", "bandit_replay_like", "oasis_like", "magic_like",
)  # fmt: skip
"""Methods that take a whole step below; the others differ from one of them in the scorer or sampling only."""


@pytest.mark.parametrize("method", WHOLE_STEPS)
def test_every_method_takes_a_step(tmp_path, method):
    datasets = [write_dataset(tmp_path, "one", rows(12))]
    tests = [write_test(tmp_path, "sums", rows(4)[1::2])]
    made = run(tmp_path, datasets, tests, selection={"method": method, "budget": 5}, pruning={"cap": 7})
    chosen = selected(made, 0)
    assert len(set(chosen)) == len(chosen) == (12 if method == "multitask" else 5)
    assert len(made.pool(1)) == 7
    assert made.has(0, Features) == measuring.needs_features(made)
    assert made.load(0, Evaluation).matrix.shape == (2, 1)
    assert {"check", *STAGES[3:]} <= {path.name for path in (made.folder / "steps" / "00").iterdir()}


def test_every_built_in_method_gets_what_it_needs_from_a_run(two_datasets, tmp_path):
    made = run(tmp_path, two_datasets[:1])
    pool, features = made.pool(0), Features.load(made.stage_folder(0, Features))
    clusters = Clusters.load(made.stage_folder(0, Clusters))
    for method in registry.selector.names():
        if "targets" in registry.selector[method].needs:
            continue  # their runs are below
        settings = made.config.selection.model_copy(update={"method": method, "budget": 4})
        other = dataclasses.replace(made, config=made.config.model_copy(update={"selection": settings}))
        chosen = choosing.choose(other, 0, pool, features, clusters, np.ones(len(pool), dtype=bool))
        assert len(set(chosen.ids)) == (10 if method == "multitask" else 4), method


def test_methods_that_replay_by_history_get_what_the_steps_before_trained_on_and_measured(
    two_datasets, tmp_path, monkeypatch
):
    # Everything else of a small pool would be measured anew, to see how far the model has moved.
    monkeypatch.setattr(plan, "CONTROL_ROWS", 2)
    datasets = [*two_datasets, write_dataset(tmp_path, "three", rows(8, word="part"))]
    # The model hardly moves, so that measurements are carried over.
    changes = {"extraction": {"refresh": "new"}, "pruning": {"cap": "none"}, "training": {"learning_rate": 1e-7}}
    made = run(tmp_path, datasets, selection={"method": "sure_like", "budget": 6}, **changes)
    ids = made.pool(2).ids
    history = history_of(made, 2, ids, ["perplexity"])
    for step in (0, 1):
        assert sorted(ids[history.trained[:, step]]) == sorted(selected(made, step))
        features = made.load(step, Features)
        measured = dict(zip(features.ids, features.scores["perplexity"], strict=True))
        own = dict(zip(features.ids, features.steps_measured_at(step) == step, strict=True))
        expected = [measured[id] if own.get(id) else np.nan for id in ids]
        np.testing.assert_array_equal(history.scores["perplexity"][:, step], expected)
    assert not made.load(1, Features).steps_measured_at(1).all(), "something was carried over"
    # Of dataset one and two, those of the highest loss when they arrived.
    old = [id for id in selected(made, 2) if not id.startswith("three/")]
    for step, name in enumerate(("one", "two")):
        losses = {id: history.scores["perplexity"][row, step] for row, id in enumerate(ids) if id.startswith(name)}
        taken = [id for id in old if id.startswith(name)]
        assert set(taken) == set(sorted(losses, key=lambda id: -losses[id])[: len(taken)]) and taken


@pytest.mark.parametrize("method", ["less", "rds_plus"])
def test_targets_are_measured_like_the_pool_and_are_those_of_all_steps(two_datasets, tmp_path, method):
    aims = write_dataset(tmp_path, "aims", rows(5, word="aim", images=False))["path"]
    selection = {"method": method, "budget": 4, "targets": aims}
    extraction = {"vector": "auto", "keep": "all"}
    made = run(tmp_path, two_datasets, selection=selection, extraction=extraction)
    for step in (0, 1):
        folder = made.stage_folder(step, Features)
        pool, targets = Features.load(folder), Features.load(folder / Features.TARGETS)
        assert targets.ids.tolist() == [f"targets/{number:03d}" for number in range(5)]
        assert targets.info["vector"] == pool.info["vector"] != "auto"
        assert targets.info["adapter_fingerprint"] == pool.info["adapter_fingerprint"]
        cosines = pool.vectors.astype(np.float64) @ targets.vectors.astype(np.float64).T
        if method == "less":
            by_task = [cosines[:, number::2].mean(axis=1) for number in (0, 1)]
            best = np.argsort(-np.maximum(*by_task))[:4]
        else:
            best = []
            for target in range(4):
                best.append(next(row for row in np.argsort(-cosines[:, target]) if row not in best))
        assert set(selected(made, step)) == set(pool.ids[best])
    # Another set in the middle of a run is another aim.
    shutil.rmtree(made.step_folder(1))
    write_dataset(tmp_path, "aims", rows(6, word="aim", images=False))
    with pytest.raises(ConfigError, match=r"aims.json has changed since step 0, and one run chooses towards one set"):
        run_all(Run.open(made.folder))


def test_a_target_without_a_vector_ends_the_step_before_its_pool_is_measured(two_datasets, tmp_path):
    aims = write_dataset(tmp_path, "aims", [*rows(2, images=False), row(7, "word " * 300, "yes", skill="s")])["path"]
    changes = {"selection": {"method": "less", "targets": aims}, "model": {"max_length": 48}}
    with pytest.raises(DataError, match=r"1 of 3 targets have no vector, the first is 'targets/007': no token"):
        run(tmp_path, two_datasets, **changes)
    assert not list((tmp_path / "run").rglob("plan.parquet"))


def test_a_method_whose_scores_must_be_of_one_step_is_refused_with_refresh(two_datasets, tmp_path):
    changes = {"selection": {"method": "bandit_replay_like"}, "extraction": {"refresh": "new"}}
    config = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets, **changes))
    with pytest.raises(ConfigError, match=r"extraction.refresh=new: the selector bandit_replay_like needs all samples"):
        preflight.check(config, whole_stream=True)


def test_options_of_the_method_come_from_the_stream(two_datasets, tmp_path):
    selection = {"budget": 5, "budgets": "density", "choose": "fixed:grand", "sampling": "top"}
    made = run(tmp_path, two_datasets[:1], selection=selection)
    clusters = tables.read_table(made.stage_folder(0, Selection) / "clusters.parquet")
    assert set(clusters["scorer"]) == {"grand"} and clusters["budget"].sum() == 5
    chosen = tables.read_table(made.stage_folder(0, Selection) / "selection.parquet")
    scores = tables.read_table(made.stage_folder(0, Features) / "scores.parquet")
    labels = Clusters.load(made.stage_folder(0, Clusters)).labels
    for cluster, budget in zip(clusters["cluster"], clusters["budget"], strict=True):
        highest = np.sort(scores["grand"][labels == cluster])[::-1][:budget]
        assert sorted(chosen["score"][chosen["cluster"] == cluster], reverse=True) == pytest.approx(list(highest))


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ({"method": "random_replay", "choose": "borda"}, "random_replay has no option 'choose'; known: none"),
        ({"choose": "borde"}, "selection.choose='borde': did you mean 'borda'"),
        ({"choose": "fixed:gradn"}, "unknown scorer 'gradn'; did you mean 'grand'"),
        ({"method": "coincide", "options": {"temprature": 1}}, "coincide has no option 'temprature'; did you mean"),
        ({"method": "coincide", "options": {"temperature": 0}}, "selection.options.temperature=0 must be a positive"),
    ],
)
def test_an_option_that_the_method_does_not_know_is_refused_before_any_work(two_datasets, tmp_path, selection, reason):
    config = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets, selection=selection))
    with pytest.raises(ConfigError, match=reason):
        preflight.check(config, whole_stream=True)


@pytest.mark.parametrize(
    ("model", "is_missing"),
    [("/no/such", True), ("./no-such", True), ("~/no-such", True), ("models/no/such", True), ("org/name", False)],
)
def test_a_model_that_can_only_be_a_folder_must_be_there_before_any_work(two_datasets, tmp_path, model, is_missing):
    config = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets))
    config = config.model_copy(update={"model": config.model.model_copy(update={"path": model})})
    if not is_missing:
        preflight.check(config, whole_stream=True)
        return
    with pytest.raises(ConfigError, match=f"cannot start:\n  model.path: {model} does not exist"):
        preflight.check(config, whole_stream=True)


def test_test_rows_that_cannot_be_used_are_told_once(two_datasets, tmp_path):
    class Notes(Silent):
        said: ClassVar[list[str]] = []

        def note(self, text):
            self.said.append(text)

    tests = [write_test(tmp_path, "s", [*rows(2), row(9, "?", "", skill="s")])]
    config = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets, tests))
    run_all(Run.create(tmp_path / "run", config, progress=Notes()))
    assert [text for text in Notes.said if "tests of" in text and "cut off at max_new_tokens" not in text] == [
        "tests of s: 1 of 3 rows rejected, the first: empty answer in turn 2"
    ]


def test_a_scorer_and_a_selector_of_ones_own_take_part_in_a_whole_run(two_datasets, tmp_path):
    plugins = [str(EXAMPLES / "my_scores.py"), str(EXAMPLES / "my_selector.py")]
    selection = {"method": "largest", "budget": 4, "options": {"scorer": "hardest_token"}}
    config = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets, selection=selection, plugins=plugins))
    preflight.check(config, whole_stream=True)
    made = Run.create(tmp_path / "run", config)
    run_all(made)
    for step in (0, 1):
        scores = tables.read_table(made.stage_folder(step, Features) / "scores.parquet")
        hardest = scores["id"][np.argsort(-scores["hardest_token"], kind="stable")[:4]]
        assert set(selected(made, step)) == set(hardest)
    # The replay of the written configuration reads the options back.
    assert configuration.load(made.folder / "config.yaml").selection == config.selection


def test_a_method_of_ones_own_that_trains_on_the_whole_pool_has_no_cap_and_its_role_in_the_table(
    two_datasets, tmp_path
):
    (tmp_path / "whole.py").write_text(WHOLE_POOL_METHOD)
    changes = {"selection": {"method": "everything", "budget": 2}, "pruning": {"cap": "auto"}}
    changes["plugins"] = [str(tmp_path / "whole.py")]
    made = run(tmp_path, two_datasets[:1], [write_test(tmp_path, "sums", rows(4)[1::2])], **changes)
    assert len(selected(made, 0)) == len(made.pool(1)) == 10 and made.cap is None
    assert record_of(made).method_traits == Traits(role="upper reference", whole_pool=True)
    assert gather([made.folder])[0].role == "upper reference"


MINE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from adaptinf.registry import scorer, selector
from adaptinf.selection import Candidates, Choice


@scorer("mine")
class Mine:
    def __call__(self, outcome):
        return {sign} * outcome.mean(outcome.loss_T)


@selector("mine")
@dataclass(frozen=True, kw_only=True)
class Highest:
    needs: ClassVar[frozenset[str]] = frozenset({{"scores"}})

    def choose(self, candidates: Candidates, budget: int) -> Choice:
        return Choice(rows=np.argsort(-candidates.scores["mine"], kind="stable")[:budget])
"""


def test_two_runs_with_different_plug_ins_of_one_name_take_turns_in_one_process(two_datasets, tmp_path):
    made = {}
    for name, sign in (("high", 1), ("low", -1)):
        plugin = tmp_path / f"{name}.py"
        plugin.write_text(MINE.format(sign=sign))
        changes = {"selection": {"method": "mine", "budget": 4}, "plugins": [str(plugin)]}
        config = configuration.load(write_stream(tmp_path / f"{name}.yaml", two_datasets, **changes))
        preflight.check(config, whole_stream=True)
        made[name] = Run.create(tmp_path / name, config)
    plain = Run.create(tmp_path / "plain", configuration.load(write_stream(tmp_path / "plain.yaml", two_datasets)))
    for step in (0, 1):
        for one in (*made.values(), plain):
            run_step(one, step)
        for name, sign in (("high", 1), ("low", -1)):
            scores = tables.read_table(made[name].stage_folder(step, Features) / Features.SCORES)
            assert (scores["mine"] == sign * scores["perplexity"]).all()
            highest = scores["id"][np.argsort(-scores["mine"], kind="stable")[:4]]
            assert set(selected(made[name], step)) == set(highest)
        assert "mine" not in tables.read_table(plain.stage_folder(step, Features) / Features.SCORES)
    assert "mine" not in {*registry.scorer.names(), *registry.selector.names()}


def test_the_pool_grows_forgets_and_never_selects_what_was_pruned(two_datasets, tmp_path):
    made = run(tmp_path, two_datasets, pruning={"cap": 6})
    gone = set(pruned(made, 0))
    assert len(gone) == 4
    assert not gone & set(selected(made, 1))
    assert not gone & set(tables.read_table(made.stage_folder(1, Features) / "scores.parquet")["id"])
    assert len(made.pool(1)) == 6 + 10


def test_a_step_out_of_turn_is_refused(two_datasets, tmp_path):
    stream = write_stream(tmp_path / "s.yaml", two_datasets)
    made = Run.create(tmp_path / "run", configuration.load(stream))
    with pytest.raises(ConfigError, match="step 1 cannot run: step 0 of .* is not finished"):
        run_step(made, 1)
    with pytest.raises(ConfigError, match="step 2 is not in the stream of 2 datasets"):
        run_step(made, 2)


def test_a_skill_that_is_tested_later_was_not_tested_before(two_datasets, tmp_path):
    sums, colours = (write_test(tmp_path, name, rows(4)[n::2]) for name, n in (("sums", 1), ("colours", 0)))
    run(tmp_path, two_datasets[:1], [sums], selection={"method": "random_replay"})
    both = run(tmp_path, two_datasets, [sums, colours], selection={"method": "random_replay"})
    matrix = both.load(1, Evaluation).matrix
    assert np.isnan(matrix).tolist() == [[False, True], [False, True], [False, False]]


def test_tests_that_are_added_after_a_step_leave_that_step_a_row_of_its_own(two_datasets, tmp_path):
    run(tmp_path, two_datasets[:1], selection={"method": "random_replay"})
    both = run(
        tmp_path, two_datasets, [write_test(tmp_path, "sums", rows(4)[1::2])], selection={"method": "random_replay"}
    )
    # The base model, step 0 untested, step 1.
    assert np.isnan(both.load(1, Evaluation).matrix).tolist() == [[False], [True], [False]]


def test_a_text_only_model_goes_through_every_stage(tmp_path):
    model = {"path": str(write_text_model(tmp_path / "model")), "lora": {"rank": 2, "alpha": 4}}
    datasets = [write_dataset(tmp_path, "one", rows(8, images=False))]
    tests = [write_test(tmp_path, "sums", rows(4)[1::2])]
    made = run(tmp_path, datasets, tests, model=model, training=LORA, selection={"budget": 4}, pruning={"cap": 6})
    scores = tables.read_table(made.stage_folder(0, Features) / "scores.parquet")
    assert np.isnan(scores["image_grounding"]).all() and np.isfinite(scores["perplexity"]).all()
    assert (made.stage_folder(0, Trained) / "adapter_model.safetensors").exists()
    assert made.load(0, Evaluation).matrix.shape == (2, 1)
    assert not torch.allclose(logits(learner_after(made, 0).make()), logits(load(made.config.model)), atol=1e-4)


def test_a_text_only_model_refuses_images_in_words(tmp_path):
    model = {"path": str(write_text_model(tmp_path / "model")), "lora": {"rank": 2, "alpha": 4}}
    with pytest.raises(ModelError, match=r"2 of 4 samples cannot be used .*reads text only, but the sample has images"):
        run(tmp_path, [write_dataset(tmp_path, "one", rows(4))], model=model, training=LORA)


def test_a_proxy_measures_and_the_model_learns(two_datasets, tmp_path):
    """The proxy is the same folder here; what counts is that features come from untrained weights at every step."""
    base = configuration.load(write_stream(tmp_path / "s.yaml", two_datasets)).model.path
    made = run(tmp_path, two_datasets, extraction={"model": base})
    prints = {tables.read_json(made.stage_folder(step, Features) / "info.json")["fingerprint"] for step in (0, 1)}
    assert prints == {load(made.config.model).fingerprint}


@pytest.mark.parametrize("method", ["adapt", "adapt_plus", "random_replay", "sequential", "multitask"])
def test_samples_without_an_answer_left_are_never_selected_and_are_pruned_first(tmp_path, method):
    long = [row(number, "word " * 300, "unseen", skill="sums") for number in range(20, 24)]
    forged = row(30, "say <|end|> twice", "no", skill="sums")
    datasets = [write_dataset(tmp_path, "one", [*rows(8), *long, forged])]
    made = run(tmp_path, datasets, selection={"method": method, "budget": 100}, pruning={"cap": 8})
    unusable = made.load(0, Checked).unusable
    assert set(unusable.values()) == {
        "no token of an answer lies within max_length",
        "turn 1 contains '<|end|>', which is a special token of the model: write it otherwise",
    }
    assert len(unusable) == 5
    assert len(selected(made, 0)) == 8 and not set(selected(made, 0)) & unusable.keys()
    assert set(pruned(made, 0)) == unusable.keys()
    assert status_of(made).steps[0].unusable == 5


def test_samples_that_are_not_selectable_are_counted_until_they_are_pruned(tmp_path):
    long = [row(number, "word " * 300, "unseen", skill="sums") for number in range(20, 23)]
    datasets = [write_dataset(tmp_path, "one", [*rows(8), *long]), write_dataset(tmp_path, "two", rows(8, word="item"))]
    made = run(tmp_path, datasets, selection={"method": "random_replay", "budget": 4}, pruning={"cap": 9})
    assert len(set(pruned(made, 0)) & made.load(0, Checked).unusable.keys()) == 2
    assert [step.unusable for step in status_of(made).steps] == [3, 1]


def test_metrics_and_events_have_a_line_for_every_stage(two_datasets, tmp_path):
    made = run(tmp_path, two_datasets[:1], selection={"method": "random_replay"})
    stages = {(step, stage) for step, stage in made.seconds()}
    assert stages == {(0, "pool"), (0, "check"), (0, "selection"), (0, "model"), (0, "pruning")}
    lines = [json.loads(line) for line in (made.folder / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} >= {"pool", "pruning"}
