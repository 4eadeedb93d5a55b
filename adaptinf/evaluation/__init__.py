"""Evaluation: skills tested after every step, the skill matrix, and metrics of learning and forgetting.

`metrics` and `answers` are plain numpy and text; `skills` reads test files; `generation` is the part that runs the
model.
"""
