"""How a model has to be asked so that it answers as in the tests of a run: its prompt, its end tokens, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, AutoTokenizer, GenerationConfig
from transformers.utils import GENERATION_CONFIG_NAME

from adaptinf.models.chat import labelled, traits_of
from adaptinf.models.chat.labelling import Labelled
from adaptinf.models.chat.template import render
from adaptinf.models.chat.today import writes_today
from adaptinf.models.chat.turns import TEXT, turns_of
from adaptinf.models.greedy import neutral
from adaptinf.models.loading import Learner
from adaptinf.models.samples import trial_sample

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
"""Settings of generation that say what a token means."""
LIMITS = ("max_length", "max_new_tokens")
"""Settings of generation that say how long an answer may be."""
OF_THE_FILE = ("transformers_version", "_from_model_config")
"""Keys of a file of such settings that say nothing about generation."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a program has to know to ask a model as the run's tests do."""

    model_class: str
    """The Auto class that opens it."""
    reader_class: str
    """The Auto class of its processor or tokenizer."""
    has_vision: bool
    """Whether it takes images."""
    is_text: bool
    """Whether its template takes the content of a user's turn as text; False: as a list of blocks."""
    placeholder: str | None
    """What stands for an image in such a text."""
    add_special: bool
    """Whether the tokenizer has to add its first token, because the template does not write it."""
    opening: str | None
    """What the run's prompts have between the template's prompt and the answer; empty: nothing; None: they begin in
    another way."""
    ends: tuple[int, ...]
    """Ids of the tokens that end an answer."""
    end_texts: tuple[str, ...]
    """The same tokens as text."""
    writes_today: bool
    """Whether its template writes a date."""
    left_out: Mapping[str, Any]
    """Settings of generation that came with the base model, and that the answers of the tests were made without."""


def asking_of(learner: Learner, model_class: Any) -> Asking:
    """Return how a model is asked.

    Args:
        learner: the model, or its reader (`load_reader`).
        model_class: the Auto class that opens it.

    Raises:
        ModelError: the chat template fits no conversation.
    """
    traits = traits_of(learner)
    template = getattr(learner.processor, "chat_template", None) or learner.tokenizer.chat_template
    ends = tuple(sorted(traits.ends))
    return Asking(
        model_class=model_class.__name__,
        reader_class=(AutoProcessor if learner.has_vision else AutoTokenizer).__name__,
        has_vision=learner.has_vision,
        is_text=traits.forms["user"] == TEXT,
        placeholder=traits.placeholder,
        add_special=traits.add_special,
        opening=_opening(learner),
        ends=ends,
        end_texts=tuple(learner.tokenizer.decode([token]) for token in ends),
        writes_today=writes_today(str(template)),
        left_out=_left_out(learner),
    )


def write_generation_settings(learner: Learner, out: Path) -> None:
    """Write the settings of generation with which a model answers as in the tests: greedily, to its end tokens."""
    (out / GENERATION_CONFIG_NAME).unlink(missing_ok=True)
    _settings(learner).save_pretrained(out)


def _settings(learner: Learner) -> GenerationConfig:
    own: GenerationConfig = learner.model.generation_config
    settings = neutral(own)
    for name in LIMITS:
        setattr(settings, name, getattr(own, name, None))
    settings.do_sample = False
    settings.eos_token_id = sorted(traits_of(learner).ends) or None
    settings.pad_token_id = learner.tokenizer.pad_token_id
    return settings


def _left_out(learner: Learner) -> dict[str, Any]:
    """Return the settings that say how the next token is chosen, as far as they are none of the library's own."""
    kept = _settings(learner).to_dict()
    return {
        name: value
        for name, value in sorted(learner.model.generation_config.to_diff_dict().items())
        if name not in (*TOKEN_IDS, *OF_THE_FILE) and kept.get(name) != value
    }


def _opening(learner: Learner) -> str | None:
    """Return what a conversation has between the template's prompt for an answer and the answer."""
    sample, traits = trial_sample(1), traits_of(learner)
    (found,) = labelled(learner, [sample])
    if not isinstance(found, Labelled) or not found.rendered.answers:
        return None
    turns = turns_of(sample, traits.forms, traits.placeholder)[:-1]
    prompt = render(learner, turns, prompt=True)
    before = found.rendered.text[: found.rendered.answers[-1].start]
    return before.removeprefix(prompt) if before.startswith(prompt) else None
