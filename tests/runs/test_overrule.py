"""restore and withdraw: what the user said holds for every later step, and only for later ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adaptinf import config as configuration
from adaptinf import pipeline
from adaptinf.data import Clusters, Evaluation, Features, SavedPruning, Selection, Trained
from adaptinf.errors import ConfigError, StoreError
from adaptinf.evaluation.skills import introductions
from adaptinf.pipeline import run_all, run_step
from adaptinf.pool import Pool
from adaptinf.pool.corrections import restored_ids, withdrawn_datasets
from adaptinf.pool.lookup import find, similar_ids
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run
from adaptinf.runs import overrule as amending
from adaptinf.runs.status import status_of
from adaptinf.storage import lock, store, tables
from adaptinf.training import save_weights
from tests.helpers.streams import rows, write_dataset, write_stream, write_test

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """Which samples a step may choose is tested here, not what it learns of them: one weight moves a little."""

    def train(samples, learner, config, *, out, **_):
        next(parameter for parameter in learner.model.parameters() if parameter.requires_grad).data.add_(1e-3)
        save_weights(learner, out)
        return Trained(info={"samples": len(samples), "optimizer_steps": 0})

    monkeypatch.setattr(pipeline.learning, "train", train)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [write_dataset(folder, name, rows(8, word=name)) for name in ("one", "two", "three")]


def made(folder, datasets, tests=None, *, num_steps=None, method="random_replay", cap=6, budget=4):
    changes = {"selection": {"method": method, "budget": budget}, "pruning": {"cap": cap}}
    stream = write_stream(folder / "s.yaml", datasets, tests, **changes)
    run = Run.create(folder / "run", configuration.load(stream))
    run_all(run, num_steps=num_steps)
    return run


def pruned(run, step):
    return set(tables.read_table(run.stage_folder(step, SavedPruning) / "pruned.parquet")["id"])


def pool_ids(run, step):
    return set(run.pool(step).ids)


def test_a_restored_sample_is_in_every_later_pool_and_never_pruned_again(tmp_path, datasets):
    run = made(tmp_path, datasets, num_steps=1)
    brought_back = sorted(pruned(run, 0))
    assert len(brought_back) == 2
    said = amending.restore(run, brought_back[0])
    assert said.text == (
        f"{brought_back[0]}, pruned at step 0, is in the pool again from step 1 on; it will not be pruned again"
    )
    run_all(run)
    for step in (1, 2):
        assert brought_back[0] in pool_ids(run, step) and brought_back[1] not in pool_ids(run, step)
        assert brought_back[0] not in pruned(run, step)
    # The cap holds all the same: the others share what the restored sample leaves of it.
    assert [len(run.pool(step)) for step in (1, 2, 3)] == [6 + 1 + 8, 6 + 8, 6]
    assert "restored already: it is in the pool from step 1 on" in amending.restore(run, brought_back[0]).text
    assert len(store.read_lines(run.pool_folder / "restored.jsonl")) == 1


def test_more_restored_samples_than_the_cap_all_stay(tmp_path, datasets):
    run = made(tmp_path, datasets, num_steps=1, cap=2)
    for id in sorted(pruned(run, 0)):
        amending.restore(run, id)
    run_step(run, 1)
    restored = set(restored_ids(run.pool_folder))
    assert len(restored) == 6 and pool_ids(run, 2) >= restored
    info = tables.read_json(run.stage_folder(1, SavedPruning) / "info.json")
    assert info["kept"] == len(pool_ids(run, 1)) - len(pruned(run, 1)) == 6


def test_with_embeddings_the_others_are_pruned_as_if_the_restored_were_not_there(tmp_path, datasets, monkeypatch):
    run = made(tmp_path, datasets[:2], num_steps=1, method="adapt")
    id = sorted(pruned(run, 0))[0]
    amending.restore(run, id)
    seen = []
    real = pipeline.choosing.prune

    def spy(embeddings, labels, ids, cap, *, stays, **options):
        seen.append((np.array(embeddings), np.array(labels), list(ids), cap, stays))
        return real(embeddings, labels, ids, cap, stays=stays, **options)

    monkeypatch.setattr(pipeline.choosing, "prune", spy)
    run_step(run, 1)
    (embeddings, labels, ids, cap, stays) = seen[0]
    assert cap == 6 and [name for name, is_safe in zip(ids, stays, strict=True) if is_safe] == [id]
    assert ids == run.pool(1).ids.tolist()
    np.testing.assert_array_equal(embeddings, Features.load(run.stage_folder(1, Features)).embeddings)
    alone = real(
        embeddings[~stays], labels[~stays], np.array(ids, object)[~stays], cap - 1, seed=run.seed("pruning", 1)
    )
    assert {name for name, is_safe in zip(ids, stays, strict=True) if not is_safe} - set(
        np.array(ids, object)[~stays][alone.kept]
    ) == pruned(run, 1)
    table = tables.read_table(run.stage_folder(1, SavedPruning) / "pruned.parquet")
    assigned = tables.read_table(run.stage_folder(1, Clusters) / "assignments.parquet")
    clusters = dict(zip(assigned["id"], assigned["cluster"], strict=True))
    assert [clusters[name] for name in table["id"]] == table["cluster"].tolist()
    neighbours = [name for name in table["neighbour"] if name]
    assert neighbours and set(neighbours) <= set(ids)


def test_a_withdrawn_dataset_is_in_no_later_pool_selection_or_introduction(tmp_path, datasets):
    tests = [write_test(tmp_path, "sums", rows(4)[1::2])]
    run = made(tmp_path, datasets, tests, num_steps=2, cap=24, budget=16)
    before = pool_ids(run, 1)
    said = amending.withdraw(run, "one")
    assert said.text.startswith("one is out of the pool from step 2 on")
    assert amending.withdraw(run, "one").text == "one was withdrawn already: it is out of the pool from step 2 on"
    run_step(run, 2)
    assert pool_ids(run, 1) == before, "the pool of an older step stays what that step saw"
    assert {id.partition("/")[0] for id in pool_ids(run, 2)} == {"two", "three"}
    chosen = tables.read_table(run.stage_folder(2, Selection) / "selection.parquet")["id"]
    assert len(chosen) == 16 and not any(id.startswith("one/") for id in chosen)
    assert [run.load(step, Evaluation).introduced_at.tolist() for step in (0, 1, 2)] == [[0], [0], [1]]
    found = status_of(run)
    assert (found.pool, found.withdrawn) == (16, {"one": 2})


def test_a_dataset_withdrawn_before_it_came_is_not_even_read(tmp_path, datasets):
    gone = {**datasets[1], "path": str(tmp_path / "gone.json")}
    run = made(tmp_path, [datasets[0], gone], num_steps=1)
    assert (
        amending.withdraw(run, "two").text
        == "two is withdrawn before its step: that step will train on none of its samples"
    )
    run_step(run, 1)
    assert {id.partition("/")[0] for id in pool_ids(run, 2)} == {"one"}
    assert tables.read_json(run.dataset_folder(1) / "info.json")["rows"] == 0


def test_a_step_under_way_goes_on_with_the_pool_that_it_began_with(tmp_path, datasets, monkeypatch):
    run = made(tmp_path, datasets, num_steps=1, method="adapt")
    id = sorted(pruned(run, 0))[0]
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.learning, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_step(run, 1)
    assert "from step 2 on" in amending.restore(run, id).text and "from step 2 on" in amending.withdraw(run, "two").text
    run_all(run)
    assert id not in pool_ids(run, 1) and any(name.startswith("two/") for name in pool_ids(run, 1))
    assert id in pool_ids(run, 2) and not any(name.startswith("two/") for name in pool_ids(run, 2))


def test_a_skill_of_withdrawn_data_alone_has_nothing_to_forget(tmp_path, datasets):
    run = made(tmp_path, datasets[:1], num_steps=1)
    amending.withdraw(run, "one")
    whole = Pool.open(run.pool_folder, run.steps_folder)
    assert len(whole) == 0 and whole.skill_counts(1) == {}
    first = whole.first_step_of_skill()
    assert first == {"colours": 1, "sums": 1}
    skills = [
        configuration.SkillConfig(skill=name, path="t.json", introduced_at=at)
        for name, at in (("sums", None), ("new", "one"), ("numbered", "0"), ("known", "base"), ("other", "two"))
    ]
    stream = [configuration.DatasetConfig(name=name, path="d.json") for name in ("one", "two")]
    assert introductions(skills, stream, first, withdrawn={"one"}).tolist() == [1, 2, 2, -1, 1]
    assert introductions(skills, stream, {"sums": 0}).tolist() == [0, 0, 0, -1, 1]


def test_what_cannot_be_taken_back_is_refused_with_what_may_have_been_meant(tmp_path, datasets):
    run = made(tmp_path, datasets, num_steps=2)
    alive = sorted(pool_ids(run, 2))[0]
    gone = sorted(pruned(run, 0) | pruned(run, 1))
    for words, pattern in (
        (("restore", "one/0001"), "no sample 'one/0001'; did you mean 'one/001'"),
        (("restore", "001"), "did you mean 'one/001' or 'two/001'"),
        (("restore", "oen/001"), "did you mean 'one/001'"),
        (("restore", alive), "is in the pool: it was never pruned"),
        (("withdraw", "thre"), "no dataset 'thre'; did you mean 'three'. known: one, two, three"),
    ):
        with pytest.raises(ConfigError, match=pattern):
            getattr(amending, words[0])(run, words[1])
    amending.withdraw(run, gone[0].partition("/")[0])
    with pytest.raises(ConfigError, match="which is withdrawn"):
        amending.restore(run, gone[0])
    datasets = stored_datasets(run.pool_folder)
    assert find(datasets, "one/007").read().id == "one/007"
    assert find(datasets, "one/008") is None and find(datasets, "four/001") is None
    assert similar_ids(run.pool_folder, "completely different and long") == []


def test_damaged_lines_are_told_with_their_number(tmp_path):
    for name, read in (("restored.jsonl", restored_ids), ("withdrawn.jsonl", withdrawn_datasets)):
        (tmp_path / name).write_text('{"id": "a/1", "name": "a"}\n[]\n')
        with pytest.raises(StoreError, match=rf"{name} line 2"):
            read(tmp_path)
        (tmp_path / name).write_text('{"id": "a", "name": "a", "step": 3}\n{"id": "a", "name": "a", "step": 2}\n')
        assert read(tmp_path) == {"a": 2} and read(tmp_path, until=1) == {}


def test_the_commands_say_it_and_status_counts_it(tmp_path, datasets, call):
    run = made(tmp_path, datasets, num_steps=2)
    id = sorted(pruned(run, 0))[0]
    before = json.loads(call("status", run.folder, "--json")[1])
    assert (before["pool"], before["pruned"], before["restored"], before["withdrawn"]) == (6, 10, 0, {})
    said = f"{id}, pruned at step 0, is in the pool again from step 2 on; it will not be pruned again\n"
    assert call("restore", run.folder, id) == (0, said, "")
    assert call("withdraw", run.folder, "two")[0] == 0
    after = json.loads(call("status", run.folder, "--json")[1])
    assert (after["restored"], after["withdrawn"]) == (1, {"two": 2})
    assert "1 restored, two withdrawn from step 2 on" in call("status", run.folder)[1]
    code, _, err = call("withdraw", run.folder, "too")
    assert code == 2 and "did you mean 'two'" in err
    with lock.held(run.folder):
        code, _, err = call("restore", run.folder, id)
        assert code == 2 and "is in use" in err
