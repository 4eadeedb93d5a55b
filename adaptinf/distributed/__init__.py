"""One piece of work in several processes that compute together, one per device: the ranks of a torch process group.

Unlike the workers of an executor, which take shards and may be replaced, ranks stand or fall together: they exchange
gradients, so the end of one is the end of all. They are started by torchrun on one machine, or by Ray Train.
"""

from adaptinf.distributed.job import Job
from adaptinf.distributed.launching import Launcher, run_in_ranks

__all__ = ["Job", "Launcher", "run_in_ranks"]
