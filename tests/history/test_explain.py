"""explain: for every sample of a run, whatever became of it, the numbers are those of the run folder's tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from adaptinf import config as configuration
from adaptinf.cli.sample_text import history_text
from adaptinf.errors import ConfigError
from adaptinf.history.explain import sample_history
from adaptinf.pipeline import run_all
from adaptinf.runs import Run
from adaptinf.runs import overrule as amending
from adaptinf.runs.stream import join
from adaptinf.storage.checksums import CHECKSUMS
from tests.helpers.run_folders import unseal
from tests.helpers.streams import row, rows, write_dataset, write_stream

LONG = row(90, "word " * 400, "never read", skill="long")
"""Its answer is cut off by max_length, so it has no answer token: unscored."""
EMPTY = row(91, "?", "", skill="empty")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three steps; before the last, a pruned sample is restored and the first dataset withdrawn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("explained")
    datasets = [
        write_dataset(folder, "one", [*rows(10), LONG]),
        write_dataset(folder, "two", [*rows(12, word="item"), EMPTY, 7]),
        write_dataset(folder, "three", rows(6, word="case")),
    ]
    stream = write_stream(folder / "s.yaml", datasets, pruning={"cap": 14})
    made = Run.create(folder / "run", configuration.load(stream))
    run_all(made, num_steps=2)
    amending.restore(made, pruned_of(made, 1, "two")[0])
    amending.withdraw(made, "one")
    run_all(made)
    torch.set_num_threads(threads)
    return made


def table(run, step, name):
    return pd.read_parquet(run.steps_folder / f"{step:02d}" / name).set_index(
        "id" if "clusters.parquet" not in name else "cluster"
    )


def pruned_of(run, step, source):
    return [id for id in table(run, step, "pruning/pruned.parquet").index if id.startswith(f"{source}/")]


def episode(run, id, step):
    (found,) = [item for item in sample_history(run, id).steps if item.step == step]
    return found


def everyone(run):
    return [(step, id) for step in range(3) for id in table(run, step, "features/scores.parquet").index]


def test_scores_and_quantiles_are_those_of_the_tables(run):
    for step, id in everyone(run):
        scores = table(run, step, "features/scores.parquet")
        clusters = table(run, step, "clusters/assignments.parquet")
        found = episode(run, id, step)
        peers = scores[clusters["cluster"] == clusters.loc[id, "cluster"]]
        assert found.placed.size == len(peers) and found.placed.cluster == clusters.loc[id, "cluster"]
        np.testing.assert_equal(found.placed.distance, float(clusters.loc[id, "distance"]))
        assert set(found.scores) == set(scores.columns)
        for name, measured in found.scores.items():
            value, among = scores.loc[id, name], [other for other in peers[name] if math.isfinite(other)]
            np.testing.assert_equal(measured.value, value)
            if math.isfinite(value):
                below = sum(other < value for other in among) + 0.5 * sum(other == value for other in among)
                assert measured.quantile == pytest.approx(below / len(among))
            else:
                assert math.isnan(measured.quantile)


def test_choices_and_their_reasons_are_those_of_the_tables(run):
    for step, id in everyone(run):
        chosen = table(run, step, "selection/selection.parquet")
        clusters = table(run, step, "selection/clusters.parquet")
        found = episode(run, id, step).considered
        assert found.chosen == (id in chosen.index) and found.total == len(chosen) == 8
        cluster = table(run, step, "clusters/assignments.parquet").loc[id, "cluster"]
        if cluster < 0:
            assert found.reason.startswith(("unscored", "not selectable")) and found.budget is None
            continue
        entry = clusters.loc[cluster]
        assert (found.budget, found.scorer) == (entry["budget"], entry["scorer"])
        for name, bits in found.entropies.items():
            np.testing.assert_equal(bits, entry[f"entropy_{name}"])
        assert set(found.entropies) == {name.removeprefix("entropy_") for name in entry.index if "entropy" in name}
        assert (found.rank < found.budget) == found.chosen, "the place is worked out again and must agree"
        scores = table(run, step, "features/scores.parquet")
        np.testing.assert_equal(found.score, scores.loc[id, found.scorer] if found.scorer != "none" else math.nan)
        if found.chosen:
            assert (found.bin, found.rank) == (chosen.loc[id, "bin"], chosen.loc[id, "rank"])
        if found.bin >= 0:
            drawn = chosen[(chosen["cluster"] == cluster) & (chosen["bin"] == found.bin)]
            assert found.bin_budget == len(drawn) <= found.bin_size


def test_chosen_samples_were_trained_and_others_were_not(run):
    for step, id in everyone(run):
        found = episode(run, id, step)
        assert found.trained == (found.considered.chosen and "one/090" != id)


def test_a_pruned_sample_shows_the_neighbour_that_it_left_for(run):
    id = pruned_of(run, 1, "two")[1]
    entry = table(run, 1, "pruning/pruned.parquet").loc[id]
    life = sample_history(run, id)
    assert life.state == "pruned at step 1"
    left = life.steps[0].pruned
    assert (left.neighbour, left.neighbour_stayed) == (entry["neighbour"], entry["neighbour_stayed"])
    assert left.similarity == pytest.approx(entry["similarity"])
    other = sample_history(run, left.neighbour)
    assert left.neighbour_turns == other.turns and left.neighbour_images == other.images
    assert [item.absent for item in life.steps] == [None, "pruned at step 1"]
    told = history_text(life)
    assert f"cosine {entry['similarity']:.4f} with {entry['neighbour']}, which stayed" in told
    assert other.turns[0][1] in told


def test_a_restored_sample_is_in_the_pool_again(run):
    id = pruned_of(run, 1, "two")[0]
    life = sample_history(run, id)
    assert (life.state, life.restored_from) == ("in the pool", 2)
    assert [bool(item.pruned) for item in life.steps] == [True, False]
    assert [item.absent for item in life.steps] == [None, None]
    assert "in the pool again from step 2 on" in history_text(life)


def test_a_withdrawn_sample_says_since_when(run):
    id = next(id for id in table(run, 1, "features/scores.parquet").index if id.startswith("one/"))
    life = sample_history(run, id)
    assert life.state == "withdrawn with its dataset from step 2 on" and life.withdrawn_from == 2
    assert [item.step for item in life.steps] == [0, 1, 2]
    assert life.steps[2].absent == life.state and life.steps[2].considered is None


def test_a_sample_whose_answer_is_cut_off_says_that_it_is_not_selectable(run):
    life = sample_history(run, "one/090")
    first = life.steps[0]
    assert first.placed.cluster == -1 and all(math.isnan(item.value) for item in first.scores.values())
    assert first.considered.reason == "not selectable: no token of an answer lies within max_length"
    told = history_text(life)
    assert "not measured" in told and "none: unscored, with 0 others" in told


def test_a_rejected_row_says_why(run):
    life = sample_history(run, "two/091")
    assert (life.state, life.meta["row"], life.notes) == ("rejected", 12, ("empty answer in turn 2",))
    assert sample_history(run, "two/000013").notes == ("row is 7, not an object",)
    assert "two.json row 12" in history_text(life) and "empty answer in turn 2" in history_text(life)
    with pytest.raises(ConfigError, match="two/091 was never in the pool: .*row 12, empty answer in turn 2"):
        amending.restore(run, "two/091")
    # A folder that was written before rejected rows had ids names them by their number.
    path = run.pool_folder / "01-two" / "rejected.jsonl"
    before, sums = path.read_text(), (path.parent / CHECKSUMS).read_bytes()
    unseal(path.parent)
    lines = [{key: value for key, value in json.loads(line).items() if key != "id"} for line in before.splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        assert sample_history(run, "two/000012").notes == ("empty answer in turn 2",)
    finally:
        path.write_text(before)
        (path.parent / CHECKSUMS).write_bytes(sums)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("two/3", "two/003"), ("tow/003", "two/003"), ("003", "one/003"), ("three/0005", "three/005")],
)
def test_a_near_miss_is_answered_with_what_may_have_been_meant(run, asked, meant):
    with pytest.raises(ConfigError, match=f"no sample and no rejected row '{asked}'; did you mean .*'{meant}'"):
        sample_history(run, asked)
    with pytest.raises(ConfigError, match="an id is DATASET/ID"):
        sample_history(run, "nothing at all like it")


def test_a_step_that_is_under_way_is_told_as_far_as_it_is(run):
    folder = run.steps_folder / "02"
    hidden = [folder / name for name in ("selection", "model", "pruning")]
    for path in hidden:
        path.rename(path.with_name(f"{path.name}.hidden"))
    try:
        last = sample_history(run, "three/001").steps[-1]
        assert last.scores and last.placed and last.considered is None and last.trained is None and last.pruned is None
        assert "not reached yet" in history_text(sample_history(run, "three/001"))
    finally:
        for path in hidden:
            path.with_name(f"{path.name}.hidden").rename(path)


def test_the_command_prints_words_or_json(run, call):
    code, out, _ = call("explain", run.folder, "three/001")
    assert code == 0 and out == history_text(sample_history(run, "three/001")) + "\n"
    code, out, err = call("explain", run.folder, "one/090", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and found["id"] == "one/090"
    assert found["steps"][0]["scores"]["perplexity"] == {"value": None, "quantile": None}
    assert call("explain", run.folder, "one/09")[0] == 2


def test_a_method_without_a_model_or_clusters_is_told_as_well(tmp_path):
    dataset = write_dataset(tmp_path, "one", rows(8))
    changes = {"selection": {"method": "random_replay", "budget": 3}, "pruning": {"cap": 5}}
    made = Run.create(tmp_path / "run", configuration.load(write_stream(tmp_path / "s.yaml", [dataset], **changes)))
    join(made, 0)
    before = sample_history(made, "one/001")
    assert before.steps == () and "none has begun" in history_text(before)
    run_all(made)
    chosen = set(table(made, 0, "selection/selection.parquet").index)
    for id in made.pool(0).ids:
        found = episode(made, id, 0)
        assert found.scores == {} and found.placed is None
        ending = "including this one" if id in chosen else "not including this one"
        assert found.considered.reason == f"random_replay selected 3 of a pool of 8, {ending}"
    left = sample_history(made, table(made, 0, "pruning/pruned.parquet").index[0])
    assert left.steps[0].pruned.neighbour is None and "compared with no other sample" in history_text(left)


def test_a_method_that_joins_clusters_tells_what_they_gave_together(tmp_path):
    selection = {"method": "adapt_plus", "budget": 6, "options": {"num_joint_clusters": 2}}
    stream = write_stream(
        tmp_path / "s.yaml",
        [write_dataset(tmp_path, "one", rows(12))],
        selection=selection,
        clustering={"clusters": 5},
        pruning={"cap": "none"},
    )
    made = Run.create(tmp_path / "run", configuration.load(stream))
    run_all(made)
    clusters = table(made, 0, "selection/clusters.parquet")
    for id in table(made, 0, "features/scores.parquet").index:
        found = episode(made, id, 0)
        mine = clusters.loc[found.placed.cluster]
        joint = clusters[clusters["joint"] == mine["joint"]]
        assert found.considered.reason.startswith(f"adapt_plus selected {mine['budget']} of the {mine['size']} samples")
        gave, size = joint["budget"].sum(), joint["size"].sum()
        together = f"; {gave} of {size} together with the {len(joint) - 1} clusters that it is joined with"
        assert found.considered.reason.endswith(together)


def test_a_history_prints_as_one_line_and_becomes_a_data_frame_with_one_row_per_step(run):
    id = pruned_of(run, 1, "two")[0]
    history = sample_history(run, id)
    assert repr(history) == f"SampleHistory({id!r}: in the pool; 2 steps from step 1 on)"
    frame = history.to_pandas()
    assert list(frame.index) == [1, 2] and list(frame["pruned"]) == [True, False]
    first = history.steps[0]
    found = frame.loc[1]
    assert found["perplexity"] == first.scores["perplexity"].value and found["cluster"] == first.placed.cluster
    assert (found["selected"], found["reason"]) == (first.considered.chosen, first.considered.reason)
    assert (found["neighbour"], found["similarity"]) == (first.pruned.neighbour, first.pruned.similarity)


def test_a_notebook_shows_a_history_with_its_words_escaped(run):
    history = sample_history(run, "three/001")
    odd = replace(history, turns=(("user", "is 1 < 2?"),))
    shown = odd._repr_html_()
    assert "is 1 &lt; 2?" in shown and shown.count("<tr") == 1 + 1 + len(history.steps)
    rejected = sample_history(run, "two/091")
    assert rejected.to_pandas().empty and "rejected" in rejected._repr_html_()
