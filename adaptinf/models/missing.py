"""Which command installs what a model's processor lacks."""

from __future__ import annotations

import re

from adaptinf.models.torchvision import torchvision_fault

NAMED = (
    r"pip install (?:-U |--upgrade )?[`'\"]?([A-Za-z][\w.-]*)",
    r"requires the ([A-Za-z][\w.-]*) library",
    r"[Pp]ackage [`']?([A-Za-z][\w.-]*)[`']? is required",
    r"No module named '([\w-]+)",
    r"packages that were not found in your environment: ([\w-]+(?:, [\w-]+)*)",
    r"[Mm]issing (?:optional )?dependenc(?:y|ies): ([\w-]+(?:, [\w-]+)*)",
)
"""How transformers, and Python itself, name a package that is missing."""
VISION_EXTRA = frozenset({"torchvision", "num2words"})
"""What `adaptinf[vision]` installs."""


def way_out(message: str) -> str:
    """Return the sentence that says how to install the packages that an error names; empty where it names none."""
    found = [name for pattern in NAMED for match in re.findall(pattern, message) for name in match.split(", ")]
    packages = {name.rstrip(".").lower() for name in found}
    fault = torchvision_fault()
    if "torchvision" in packages and fault is not None:
        return f"; {fault}: install the torchvision of your torch, from the index that torch came from"
    others = sorted(packages - VISION_EXTRA)
    commands = ["pip install 'adaptinf[vision]'"] if packages & VISION_EXTRA else []
    commands += [f"pip install {' '.join(others)}"] if others else []
    return f"; install what is missing: {' and '.join(commands)}" if commands else ""
