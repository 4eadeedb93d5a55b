"""Tiny models of random weights, written as ordinary Hugging Face folders by the test that needs them.

`FAMILIES` has the families that people use, each with its published chat template; `WRITERS` four with the demo's.
"""

from tests.helpers.families.by_pillow import BY_PILLOW
from tests.helpers.families.by_torchvision import BY_TORCHVISION
from tests.helpers.families.facts import FACTS
from tests.helpers.families.family import ConfigOnly, Family
from tests.helpers.families.small import SEEING, WRITERS, write_gpt2, write_idefics3, write_llama, write_llava
from tests.helpers.families.text import TEXT

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

FAMILIES: dict[str, Family] = {
    name: Family(write=model.write, kind=model.kind, **{**usual, **FACTS.get(name, {})})
    for models, usual in (
        (BY_PILLOW, {"has_vision": True}),
        (BY_TORCHVISION, {"has_vision": True, "needs": ("torchvision",)}),
        ({"florence2": ConfigOnly(kind="florence2")}, {"has_vision": True}),
        (TEXT, {"has_vision": False}),
        ({"t5": ConfigOnly(kind="t5")}, {"has_vision": False}),
    )
    for name, model in models.items()
}
"""Family -> how its tiny model is written, and what is known about it."""
