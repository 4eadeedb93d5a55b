"""A chat template that does not end, or takes all memory, is refused; others are rendered as before."""

from __future__ import annotations

import threading
import time

import pytest

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import template_child, template_trial
from adaptinf.models.chat import labelled, template
from adaptinf.models.chat.time_limit import TooSlow, time_limit
from adaptinf.models.loading import load_reader
from tests.helpers.conversations import conversation, say
from tests.helpers.text_model import TEMPLATE, write_text_model

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
LARGE = {
    "a constant": "{{ 'x' * 3000000000 }}",
    "a product": "{% for m in messages %}{{ (m.content | string) * 300000000 }}{% endfor %}",
    "a width": "{{ '%3000000000d' % 1 }}",
    "a format": "{{ '{:3000000000}'.format('x') }}",
    "a filter": "{{ 'x' | center(3000000000) }}",
    "doubling": "{% set n = namespace(x='xx') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "output": "{% for i in range(99999) %}{{ 'xxxxxxxxxx' * 1000 }}{% endfor %}",
}


@pytest.mark.parametrize("text", [ENDLESS, *LARGE.values()], ids=["loops", *LARGE])
def test_a_template_that_takes_all_time_or_memory_is_refused_when_the_model_is_loaded(tmp_path, text):
    folder = write_text_model(tmp_path, template=text + TEMPLATE)
    kind = "takes more than 5 s of processor time" if text == ENDLESS else "takes more than 1 GB of memory or writes"
    with pytest.raises(ModelError, match=f"model.path=.*: the chat template {kind}.*chat_template.jinja"):
        load_reader(ModelConfig(path=str(folder)))


def test_templates_that_refuse_conversations_or_cannot_be_compiled_are_left_to_the_model():
    for text in (
        "{{ raise_exception('no') }}",
        "{% for %}",
        "{{ messages[7].content.x.y }}",
        "{% generation %}x",
        TEMPLATE,
    ):
        template_trial.refuse_endless({"default": text, "tool_use": text}, "m")
    assert template_child.TOO_LARGE == template_trial.TOO_LARGE


def test_a_template_that_is_slow_for_one_conversation_only_is_stopped_in_any_thread(tmp_path, monkeypatch):
    slow = f"{{% if 'slow' in messages[0].content %}}{ENDLESS}{{% endif %}}{TEMPLATE}"
    learner = load_reader(ModelConfig(path=str(write_text_model(tmp_path, template=slow))))
    monkeypatch.setattr(template, "MAX_SECONDS", 0.5)
    good, bad = (conversation(text, say("user", text), say("assistant", "a")) for text in ("quick", "slow"))
    found = []

    def try_it():
        try:
            labelled(learner, [good, bad])
        except ModelError as error:
            found.append(str(error))

    thread = threading.Thread(target=try_it)
    thread.start()
    try_it()
    thread.join()
    assert len(found) == 2
    assert all("the chat template takes more than 0.5 s of processor time for one conversation" in one for one in found)
    assert len(labelled(learner, [good])) == 1


def test_time_is_that_of_the_thread_and_blocks_within_it_are_left_alone():
    with time_limit(0.1):
        time.sleep(0.5)
    with pytest.raises(TooSlow):
        with time_limit(0.1):
            while True:
                pass
    for _ in range(3):
        with time_limit(60):
            pass
    with pytest.raises(ZeroDivisionError):
        with time_limit(60):
            _ = 1 / 0
