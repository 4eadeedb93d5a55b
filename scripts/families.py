"""Write the table of model families in docs/your-model.md; a test compares it.

What stands in it is what `tests/models/test_families.py` checks on a tiny model of each family.

python -m scripts.families
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.families import FAMILIES, Family

PAGE = Path(__file__).parent.parent / "docs" / "your-model.md"
MARKED = re.compile(r"(?<=<!-- families:begin -->\n).*?(?=<!-- families:end -->)", re.S)
HEAD = "| family | `model_type` | install | found |\n|---|---|---|---|\n"


def page(text: str) -> str:
    """Return the page with both tables made anew."""
    takes_images = {name: family for name, family in FAMILIES.items() if family.has_vision}
    text_only = {name: family for name, family in FAMILIES.items() if not family.has_vision}
    tables = (
        f"Images and text, {len(takes_images)} families:\n\n{_table(takes_images)}\n"
        f"Text only, {len(text_only)} families:\n\n{_table(text_only)}"
    )
    return MARKED.sub(lambda _: f"\n{tables}\n", text)


def _table(families: dict[str, Family]) -> str:
    return HEAD + "".join(_row(name, family) for name, family in families.items())


def _row(name: str, family: Family) -> str:
    install = {(): "–", ("torchvision",): "`[vision]`"}.get(family.needs, f"`[vision]` ({', '.join(family.needs)})")
    outcome = "passes" if family.refused is None else f"**refused**: {family.refused}"
    found = f"{outcome}; {family.note}" if family.note else outcome
    return f"| {name} | `{family.kind}` | {install} | {found} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
