"""Commands of other programs: a harness that tests a model, a trainer that trains it.

The text of a command is split into words and its placeholders are filled in, without a shell; the command runs under a
guardian process, which ends everything that it has started when it is over, takes too long, or this process dies.
"""

from adaptinf.outside.command import Command
from adaptinf.outside.durations import seconds_of
from adaptinf.outside.running import log_tail, run_command

__all__ = ["Command", "log_tail", "run_command", "seconds_of"]
