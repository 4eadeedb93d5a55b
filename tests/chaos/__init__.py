"""The attack on a run folder as code: damage it, kill what writes it, fill its disk, and look at what is said.

    python -m tests.chaos --seed 0          the whole attack; writes docs/robustness.md
    python -m tests.chaos --seed 0 CASE     one case again, with what it printed

One process imports everything and makes a few small runs (`runs`). Each try works on a copy of one of them, in a
process forked from there (`forks`), through `adaptinf.cli.main`, and ends in one class (`judging`).
"""
