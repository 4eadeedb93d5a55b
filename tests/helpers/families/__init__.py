"""Tiny models of random weights, written as ordinary Hugging Face folders by the test that needs them.

`FAMILIES` has the families that people use, each with its published chat template; `WRITERS` four with the demo's.
"""

from tests.helpers.families.family import Family
from tests.helpers.families.small import SEEING, WRITERS, write_gpt2, write_idefics3, write_llama, write_llava
from tests.helpers.families.text import TEXT_FAMILIES
from tests.helpers.families.vision import VISION_FAMILIES

__all__ = [
    "FAMILIES",
    "SEEING",
    "WRITERS",
    "Family",
    "write_gpt2",
    "write_idefics3",
    "write_llama",
    "write_llava",
]

FAMILIES: dict[str, Family] = {**VISION_FAMILIES, **TEXT_FAMILIES}
"""Family -> how its tiny model is written, and what is known about it."""
