"""What training teaches, generation says: ten rows, whose answers a tiny model learns by heart and then stops."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from adaptinf.config import ModelConfig, SkillConfig, TrainingConfig
from adaptinf.evaluation.generation import evaluate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.models import load
from adaptinf.training import train
from tests.helpers.conversations import conversation, say
from tests.helpers.families import FAMILIES

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "black": (0, 0, 0), "white": (255, 255, 255)}
BY_HEART = TrainingConfig(tune="full", learning_rate=6e-3, epochs=80, batch_size=10, micro_batch_size=10)
LONGEST = 16
"""Tokens that the model may write, more than any answer has."""

pytestmark = pytest.mark.usefixtures("one_thread")


def ten_rows(folder, has_vision):
    rows = []
    for number, (name, colour) in enumerate(COLOURS.items()):
        path = folder / f"{name}.png"
        Image.new("RGB", (64, 64), colour).save(path)
        asked = ["<image>", "What colour is it?"] if has_vision else [f"What colour has number {number}?"]
        pictures = (path,) if has_vision else ()
        rows.append(conversation(name, say("user", *asked), say("assistant", name), images=pictures))
        first = [say("system", "Be brief."), say("user", f"Say {number}."), say("assistant", f"{number} is said.")]
        rows.append(
            conversation(f"{name}-twice", *first, say("user", "Again?"), say("assistant", f"Once more {number}."))
        )
    return rows


@pytest.mark.parametrize("family", ["llava15", "qwen3"])
def test_a_model_says_the_answers_that_it_learnt_and_stops(family, tmp_path):
    path = FAMILIES[family].write(tmp_path / "model")
    learner = load(ModelConfig(path=str(path), dtype="float32", device="cpu", max_length=256))
    rows = ten_rows(tmp_path, learner.has_vision)
    skill = SkillConfig(skill="by heart", path="x.json", metric="exact", max_new_tokens=LONGEST)
    tests = [SkillTest(config=skill, items=tuple(rows), rejected=())]
    where = {"introduced_at": np.array([0]), "frequency": np.array([1.0])}
    before = evaluate(learner, tests, step=-1, **where)
    train(rows, learner, BY_HEART, out=tmp_path / "out", seed=1)
    after = evaluate(learner, tests, step=0, previous=before, **where)
    answers = [row.messages[-1]["content"][0]["text"] for row in rows]
    assert list(after.predictions["prediction"]) == answers
    assert before.matrix[-1, 0] == 0 and after.matrix[-1, 0] == 1
    longest = max(len(learner.tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in answers)
    assert longest < LONGEST, "so that an answer ends by its end token alone"
