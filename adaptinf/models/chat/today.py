"""Chat templates that write today's date: they get the day of the settings, so that all steps of a run write one."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

NAME = "strftime_now"
"""Name of the function that chat templates get today's date from."""
_LETTERS = "aAbBcCdDeFgGhHIjklmMnprRsStTuUVwWxXyYzZ"
"""Directives of strftime."""
_PERCENT = "\N{WORD JOINER}"
"""Stands for `%%` while the directives are replaced."""


def writes_today(template: str) -> bool:
    """Tell whether a chat template asks for today's date."""
    return NAME in template


@lru_cache(maxsize=8)
def on_day(template: str, day: str) -> str:
    """Return a chat template that writes a day (2026-11-28) where it would write today's.

    The function is defined anew inside the template, because transformers passes no functions to a template.
    """
    then = date.fromisoformat(day)
    written = {f"%{flag}{letter}": then.strftime(f"%{flag}{letter}") for letter in _LETTERS for flag in ("-", "")}
    replaced = "".join(f"|replace({wanted!r}, {text!r})" for wanted, text in written.items())
    body = f"{{{{ format|replace('%%', {_PERCENT!r}){replaced}|replace({_PERCENT!r}, '%') }}}}"
    # `+%}` keeps a line break at the start of the template.
    return f"{{%- macro {NAME}(format) -%}}{body}{{%- endmacro +%}}{template}"
