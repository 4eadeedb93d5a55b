"""A template that writes today's date writes any other day exactly as it would have on that day."""

from __future__ import annotations

from datetime import date

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from adaptinf.models.chat.today import on_day, writes_today

TURNS = [{"role": "user", "content": "Hi"}]
FORMATS = ("%d %b %Y", "%Y-%m-%d", "%-d/%-m/%y", "%A, %B %d, %Y", "day %j of %Y, 100%%, %%d", "%x %H:%M", "no date")


def rendered(template: str) -> str:
    (text,), _ = render_jinja_template(conversations=[TURNS], chat_template=template)
    return text


@pytest.mark.parametrize("day", ["2024-02-29", "2026-11-08"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_a_date_is_that_of_the_day(form, day):
    template = f"{{{{ strftime_now({form!r}) }}}}"
    assert rendered(on_day(template, day)) == date.fromisoformat(day).strftime(form)


@pytest.mark.parametrize("start", ["", "\n", "\n\n  ", "{# a comment #}\n"])
def test_nothing_else_of_the_template_changes(start):
    rest = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}\n"
    asks = "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}"
    today = date.today()
    assert rendered(on_day(start + asks + rest, today.isoformat())) == rendered(start + asks + rest)
    assert str(today.year) in rendered(start + asks + rest)


def test_a_template_without_a_date_asks_for_none():
    assert writes_today("{{ strftime_now('%Y') }}") and not writes_today("{{ messages }}")
