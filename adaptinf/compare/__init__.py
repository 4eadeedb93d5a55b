"""Several methods and seeds over one stream: one run folder per method and seed, compared in one table."""

from adaptinf.compare.planning import ConfigOf, PlannedRun, check_plan, plan, same_config
from adaptinf.compare.processes import THREADS_PER_RUN, run_planned
from adaptinf.compare.variants import ComparisonRow

__all__ = [
    "THREADS_PER_RUN",
    "ComparisonRow",
    "ConfigOf",
    "PlannedRun",
    "check_plan",
    "plan",
    "run_planned",
    "same_config",
]
