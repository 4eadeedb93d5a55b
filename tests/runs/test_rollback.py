"""Taking a step's model back and giving it back, in fabricated run folders, whatever call a process ends at."""

import os
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from adaptinf.data import Evaluation, Trained
from adaptinf.data.gate import Gate, GateSkill
from adaptinf.errors import GateStopped, StoreError
from adaptinf.runs import Run, events, rollback
from adaptinf.runs.gates import (
    check_gate,
    gate_lines,
    is_rolled_back,
    kept_steps,
    newest_kept,
    outcome_of,
    rolled_back_steps,
)
from adaptinf.runs.rollback import folder_to_test, has_trained, place_model
from adaptinf.storage import checksums, store
from tests.helpers.run_folders import run_folder

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


class Killed(BaseException):
    """Ends a process."""


@pytest.fixture
def run(tmp_path) -> Run:
    """Return a run of three tested steps with weights of their own."""
    made = run_folder(tmp_path / "run", "random_replay", [[0.9], [0.9], [0.1], [0.9]])
    for step in range(3):
        write_weights(made, step)
    return made


def weights_of(step: int) -> bytes:
    return save({"weight": np.array([step])})


def write_weights(run: Run, step: int) -> None:
    folder = run.stage_folder(step, Trained)
    store.discard(folder)
    part = store.begin(folder)
    (part / WEIGHTS).write_bytes(weights_of(step))
    (part / CONFIG).write_text("{}")
    Trained(log=[{"step": step}], info={"samples": 4, "optimizer_steps": 1}).save(part)
    store.finish(folder)


def judge(run: Run, step: int, *, action: str = "rollback", verdict: str = "dropped") -> None:
    """Give the evaluation of a step a gate."""
    folder = run.stage_folder(step, Evaluation)
    found = Evaluation.load(folder)
    skill = GateSkill(
        skill="s0", verdict=verdict, best_step=-1, best=0.9, score=0.1, drop=80.0, low=50.0, high=90.0, num_items=10
    )
    is_rejected = action == "rollback" and verdict == "dropped"
    gate = Gate(max_drop=3.0, action=action, skills=(skill,), is_rejected=is_rejected)
    store.discard(folder)
    part = store.begin(folder)
    replace(found, gate=gate, rejected_rows=(step + 1,) if is_rejected else ()).save(part)
    store.finish(folder)


def unfinish(run: Run, step: int) -> None:
    store.discard(run.step_folder(step) / "pruning")


def content(run: Run, step: int) -> dict[str, bytes]:
    folder = run.stage_folder(step, Trained)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def weights(run: Run, step: int) -> bytes:
    return (run.stage_folder(step, Trained) / WEIGHTS).read_bytes()


def test_a_step_that_is_rolled_back_has_the_bytes_of_the_step_before(run):
    trained = content(run, 1)
    judge(run, 1)
    place_model(run, 1)
    assert content(run, 1) == content(run, 0)
    rejected = run.rejected_model_folder(1)
    assert {path.name: path.read_bytes() for path in sorted(rejected.iterdir())} == trained
    assert (rolled_back_steps(run, 3), kept_steps(run, 2), newest_kept(run, 1)) == ([1], [0, 2], 0)
    assert events.unreported_rollbacks(run.events_file) == (1,)
    events.note_reported(run.events_file)
    assert events.unreported_rollbacks(run.events_file) == ()


def test_the_first_step_that_is_rolled_back_has_no_weights(run):
    judge(run, 0)
    place_model(run, 0)
    folder = run.stage_folder(0, Trained)
    assert sorted(path.name for path in folder.iterdir()) == [checksums.CHECKSUMS, "info.json", Trained.LOG]
    assert (Trained.weights(folder), Trained.lacking(folder)) == ([], [])
    assert newest_kept(run, 0) == -1
    judge(run, 1)
    place_model(run, 1)
    assert content(run, 1) == content(run, 0)
    assert newest_kept(run, 1) == -1


def test_a_rolled_back_step_that_has_lost_its_evaluation_counts_as_rolled_back(run):
    judge(run, 1)
    place_model(run, 1)
    # What it trained may be deleted; the evaluation is lost.
    store.discard(run.rejected_model_folder(1))
    store.discard(run.stage_folder(1, Evaluation))
    assert kept_steps(run, 2) == [0, 2]
    # Taken again: what it trains now was never taken back.
    store.discard(run.stage_folder(1, Trained))
    assert not is_rolled_back(run, 1) and not has_trained(run, 1)
    write_weights(run, 1)
    assert kept_steps(run, 2) == [0, 1, 2]


CALLS = [(os, "rename"), (rollback, "linked_copy"), (rollback, "fsync"), (rollback.events, "note_rollback")]


def calls_until_done(run: Run, step: int, monkeypatch) -> list[str]:
    """Return which of CALLS a rollback makes, in order, without being killed."""
    made: list[str] = []
    with monkeypatch.context() as patch:
        for holder, name in CALLS:
            real = getattr(holder, name)

            def noted(*args, name=name, real=real):
                made.append(name)
                return real(*args)

            patch.setattr(holder, name, noted)
        place_model(run, step)
    return made


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("after", [False, True])
def test_a_rollback_that_is_killed_at_any_call_is_completed_by_the_next_command(
    tmp_path, monkeypatch, step, after, run
):
    other = run_folder(tmp_path / "other", "random_replay", [[0.9], [0.9], [0.1], [0.9]])
    for number in range(3):
        write_weights(other, number)
    judge(other, step)
    num_calls = len(calls_until_done(other, step, monkeypatch))
    assert num_calls >= 6
    for last in range(num_calls):
        for number in range(3):
            write_weights(run, number)
        store.discard(run.rejected_model_folder(step))
        judge(run, step)
        trained, before = content(run, step), content(run, step - 1) if step else content(other, 0)
        kill_at(run, step, last, after, monkeypatch)
        assert is_rolled_back(run, step)
        assert has_trained(run, step), "the step would be trained again"
        place_model(run, step)
        assert content(run, step) == before, last
        rejected = run.rejected_model_folder(step)
        assert {path.name: path.read_bytes() for path in sorted(rejected.iterdir())} == trained, last
        assert not store.part_of(run.stage_folder(step, Trained)).exists()
        place_model(run, step)
        assert content(run, step) == before
        assert events.unreported_rollbacks(run.events_file) == (step,)
        events.note_reported(run.events_file)


def kill_at(run: Run, step: int, last: int, after: bool, monkeypatch) -> None:
    """End a rollback at one of its calls, before or after it is made."""
    made = 0

    def deadly(real):
        def call(*args):
            nonlocal made
            made += 1
            if made == last + 1 and not after:
                raise Killed
            result = real(*args)
            if made == last + 1:
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        for holder, name in CALLS:
            patch.setattr(holder, name, deadly(getattr(holder, name)))
        with pytest.raises(Killed):
            place_model(run, step)


def test_a_step_that_passes_when_it_is_tested_again_gets_its_model_back(run):
    trained = content(run, 2)
    judge(run, 2)
    place_model(run, 2)
    judge(run, 2, verdict="kept")
    place_model(run, 2)
    assert content(run, 2) == trained
    assert not run.rejected_model_folder(2).exists()


def test_the_model_that_a_step_trained_is_tested_again_and_no_other(run):
    judge(run, 1)
    place_model(run, 1)
    assert (folder_to_test(run, 1) / WEIGHTS).read_bytes() == weights_of(1)
    store.discard(run.rejected_model_folder(1))
    with pytest.raises(StoreError, match="model-rejected is missing: step 1 was rolled back"):
        folder_to_test(run, 1)
    place_model(run, 1)  # its user has deleted the rejected model: nothing is to be done
    assert weights(run, 1) == weights_of(0)


def test_without_its_evaluation_the_rejected_model_tells_that_a_step_was_rolled_back(run):
    judge(run, 1)
    place_model(run, 1)
    store.discard(run.stage_folder(1, Evaluation))
    assert is_rolled_back(run, 1) and has_trained(run, 1)


def test_a_model_that_is_gone_is_made_again_from_the_step_before(run):
    judge(run, 1)
    place_model(run, 1)
    store.discard(run.stage_folder(1, Trained))
    place_model(run, 1)
    assert content(run, 1) == content(run, 0)
    assert (run.rejected_model_folder(1) / WEIGHTS).read_bytes() == weights_of(1)


def test_a_damaged_model_is_not_copied(run):
    judge(run, 1)
    (run.stage_folder(0, Trained) / WEIGHTS).write_bytes(weights_of(7))
    with pytest.raises(StoreError, match="damaged"):
        place_model(run, 1)
    assert weights(run, 1) == weights_of(1)


@pytest.mark.parametrize(("action", "outcome"), [("rollback", "rolled back"), ("warn", "warned"), ("stop", "accepted")])
def test_what_became_of_a_finished_step_follows_from_the_action(run, action, outcome):
    judge(run, 2, action=action)
    assert outcome_of(run, 2) == outcome
    (line,) = gate_lines(run, range(3))
    assert line.startswith("step 2: the gate ") and "80.0 points" in line
    check_gate(run, run.num_finished)


def test_a_stopped_step_is_refused_with_the_ways_on(run):
    judge(run, 2, action="stop")
    unfinish(run, 2)
    with pytest.raises(GateStopped, match=r"after step 2: lost more than 3 points: s0: 90\.0 .* accept .* gate"):
        check_gate(run, run.num_finished)


def test_the_numbers_of_a_step_that_was_rolled_back_count_nowhere(run):
    from adaptinf.results.recording import record_of
    from adaptinf.results.summary import summarise

    judge(run, 2)
    place_model(run, 2)
    record = record_of(run, in_detail=False)
    assert record.rejected == (3,)
    assert [step.trained for step in record.steps] == [4, 4, 0]
    assert record.matrix.shape == (4, 1) and record.accepted.matrix.shape == (3, 1)
    assert summarise(record).macro == record.matrix[2, 0]
    assert record.items["s0"].scores.mean() == pytest.approx(0.1)
    assert type(record).from_json(record.as_json()).accepted.matrix.tolist() == record.accepted.matrix.tolist()
    assert np.isnan(Evaluation.load(run.stage_folder(2, Evaluation)).comparable_matrix[3, 0])


def test_a_training_that_has_changed_no_byte_is_no_rollback(run):
    store.discard(run.stage_folder(1, Trained))
    part = store.begin(run.stage_folder(1, Trained))
    for name, value in content(run, 0).items():
        if name != checksums.CHECKSUMS:
            (part / name).write_bytes(value)
    store.finish(run.stage_folder(1, Trained))
    assert content(run, 1) == content(run, 0)
    assert folder_to_test(run, 1) == run.stage_folder(1, Trained)
    judge(run, 1)
    place_model(run, 1)
    assert run.rejected_model_folder(1).exists() and content(run, 1) == content(run, 0)
    assert events.unreported_rollbacks(run.events_file) == (1,)


def test_a_step_that_is_trained_again_is_rolled_back_again(run):
    judge(run, 1)
    place_model(run, 1)
    store.discard(run.rejected_model_folder(1))
    write_weights(run, 1)
    store.append_line(run.events_file, {"step": 1, "stage": Trained.stage, "event": "end", "seconds": 1.0})
    place_model(run, 1)
    assert (run.rejected_model_folder(1) / WEIGHTS).read_bytes() == weights_of(1)
    assert weights(run, 1) == weights_of(0)
