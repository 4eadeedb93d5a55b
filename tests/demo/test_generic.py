"""The generic mix is reproducible and does not contain the stream's answers."""

from __future__ import annotations

import numpy as np

from adaptinf.demo.phrasing import ask
from adaptinf.demo.skills import SKILLS
from scripts.pretrain.generic import LESSONS, lessons


def test_the_same_seed_gives_the_same_lessons() -> None:
    first, again = lessons(40, seed=5), lessons(40, seed=5)
    assert [lesson.turns for lesson in first] == [lesson.turns for lesson in again]
    for left, right in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(left.images, right.images, strict=True))


def test_every_kind_of_lesson_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for draw in LESSONS:
        for _ in range(20):
            lesson = draw(rng)
            assert lesson.turns and all(question and answer for question, answer in lesson.turns)
            assert all(image.shape == (64, 64, 3) for image in lesson.images)


ASKED_IN_BOTH = {"color", "shape", "count", "digit"}
"""Skills that the generic mix contains: colours, shapes and counts; and digits, which look like counts."""


def test_other_skills_share_no_answer_with_the_generic_mix() -> None:
    turns = [turn for lesson in lessons(1500, seed=1) for turn in lesson.turns]
    generic = {answer for question, answer in turns if answer not in question}  # copying a word reveals no answer
    rng = np.random.default_rng(1)
    for name in set(SKILLS) - ASKED_IN_BOTH:
        answers = {SKILLS[name].draw(rng, "train").exchanges[0].answer for _ in range(20)}
        assert not answers & generic, name


def test_no_lesson_asks_a_question_of_the_stream() -> None:
    generic = {question for lesson in lessons(1500, seed=2) for question, _ in lesson.turns}
    rng = np.random.default_rng(2)
    for skill in SKILLS.values():
        for _ in range(20):
            slots = skill.draw(rng, "train").exchanges[0].slots
            assert ask(rng, skill.paraphrases, slots, "train", hashed=False) not in generic
