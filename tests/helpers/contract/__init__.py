"""What must hold for every model family, checked on a tiny model of it.

`python -m tests.helpers.contract FAMILY FOLDER all` checks one in a process of its own and prints the outcome as JSON.
"""

from tests.helpers.contract.checks import CHECKS, check_family

__all__ = ["CHECKS", "check_family"]
