"""Evaluation: skills tested after every step, the skill matrix, and what it says about learning and forgetting.

`metrics` and `answers` are plain numpy and text; `skills` reads test files; `generation` is the part that runs the
model.
"""
