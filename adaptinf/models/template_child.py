"""A chat template tried within limits of memory and time: a program of its own, which `template_trial` runs.

It reads the template from its standard input. Its exit code is TOO_LARGE where the template takes too much memory or
writes too much; a template that takes too long is ended by the system. Any other error is for the model's own
rendering to report.
"""

from __future__ import annotations

import json
import resource
import sys
from itertools import product
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 5
"""Of processor time, for all conversations together; a template takes a few milliseconds."""
MEMORY = 2**30
"""Bytes of the whole program."""
MAX_CHARACTERS = 2**26
"""Characters that are written for one conversation."""
TOO_LARGE = 3
"""Exit code."""
CONVERSATIONS = (("user", "assistant"), ("system", "user", "assistant", "user", "assistant"), ("user",))
"""Roles of the turns that are rendered."""


class Generation(Extension):
    """The tags of transformers around what an assistant says; what stands between them is written."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 has it)

    def parse(self, parser: Any) -> Any:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def main() -> int:
    """Render conversations of texts and of blocks, and return the exit code."""
    source = sys.stdin.read()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, default=str)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda format: "2026"
    try:
        template = environment.from_string(source)
        for roles, is_text, prompt in product(CONVERSATIONS, (True, False), (True, False)):
            if not _is_written(template, roles, is_text=is_text, prompt=prompt):
                return TOO_LARGE
    except MemoryError:
        return TOO_LARGE
    except Exception:  # a template that cannot be compiled
        return 0
    return 0


def _is_written(template: jinja2.Template, roles: tuple[str, ...], *, is_text: bool, prompt: bool) -> bool:
    """Return whether a conversation is written within the limits; one that the template refuses counts as written."""
    contents: Any = "A short text." if is_text else [{"type": "image"}, {"type": "text", "text": "A short text."}]
    messages = [{"role": role, "content": contents} for role in roles]
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    num_characters = 0
    try:
        for piece in template.generate(messages=messages, add_generation_prompt=prompt, tools=None, **tokens):
            num_characters += len(piece)
            if num_characters > MAX_CHARACTERS:
                return False
    except MemoryError:
        return False
    except Exception:  # a template is a program of the model's authors: it can raise anything
        return True
    return True


def _refuse(message: object) -> None:
    raise jinja2.TemplateError(str(message))


if __name__ == "__main__":
    sys.exit(main())
