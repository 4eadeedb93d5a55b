"""Calling a model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adaptinf.errors import ModelError
from adaptinf.models.chat.time_limit import TooSlow, time_limit
from adaptinf.models.chat.today import on_day, writes_today
from adaptinf.models.chat.turns import Turns, Unusable
from adaptinf.models.loading import Learner
from adaptinf.models.template_trial import WAY_OUT
from adaptinf.words import one_line, shortened

MAX_SECONDS = 10
"""Of processor time for one conversation; one of 4 MB takes a second."""


class Span(NamedTuple):
    """A piece of a text."""

    start: int
    """Its first character."""
    stop: int
    """One after its last character."""


def render(learner: Learner, turns: Turns, *, prompt: bool = False, tools: Sequence[Any] = ()) -> str:
    """Return turns as the chat template writes them; one that writes today's date gets `model.date`.

    Args:
        learner: whose template it is.
        turns: the conversation.
        prompt: whether what opens the next answer is written after them.
        tools: JSON schemas of the tools that the assistant may call.

    Raises:
        Unusable: the template refuses the turns; with its words.
        ModelError: it takes too long.
    """
    owner = learner.processor if learner.has_vision else learner.tokenizer
    options: dict[str, Any] = {"tools": list(tools)} if tools else {}
    template = _template(learner, tools)
    if learner.config.date != "auto" and writes_today(template):
        options["chat_template"] = on_day(template, learner.config.date)
    try:
        with time_limit(MAX_SECONDS):
            return str(owner.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt, **options))
    except TooSlow as error:
        raise ModelError(
            f"model.path={learner.config.path}: the chat template takes more than {MAX_SECONDS} s of processor time "
            f"for one conversation; {WAY_OUT}"
        ) from error
    except Exception as error:  # a template is a program of the model's authors: it can raise anything
        raise Unusable(f"the chat template refuses the conversation: {shortened(one_line(error))}") from error


def _template(learner: Learner, tools: Sequence[Any]) -> str:
    """Return the template that transformers takes; of several, which tokenizers have more of than processors."""
    found = learner.processor.chat_template if learner.has_vision else learner.tokenizer.chat_template
    if not isinstance(found, dict):
        return str(found)
    name = "tool_use" if tools and not learner.has_vision and "tool_use" in found else "default"
    return str(found.get(name, ""))
