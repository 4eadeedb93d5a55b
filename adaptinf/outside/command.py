"""The text of a command as words, and its placeholders: `--model_args pretrained={merged}`."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from adaptinf.errors import ConfigError
from adaptinf.words import shortened

_QUOTED = r"""\\[^\n]|'[^']*'|"(?:\\.|[^"\\])*\""""
_CONTINUED = re.compile(rf"({_QUOTED})|\\\n", re.DOTALL)
_SHELL_ONLY = re.compile(
    r"(?:^|(?<=\s))(?:\d?[<>]\S*|&?>\S*|\|\|?|&&?|;)(?=\s|$)|;(?=\s|$)|`|\$[A-Za-z_{(]|(?<!\S)~(?=/)"
)
"""What a shell would act on, outside of quotes: redirections, pipes, lists of commands, substitutions, the home."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
SHOWN = 80
"""Characters of a command that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of another program, not yet filled in."""

    text: str
    """As its user wrote it."""
    place: str
    """Which setting it is, for messages."""
    words: tuple[str, ...]
    """Its words, each with its placeholders; the first one is the program."""

    @classmethod
    def parse(cls, text: str, *, place: str, known: Collection[str]) -> Command:
        """Return the command in a text.

        Words are split as a shell does it, but nothing else of a shell is done: what only a shell understands is
        refused. `{name}` stands for a value, also within a word; `{{` and `}}` for braces.

        Args:
            text: the command.
            place: which setting it is, for messages.
            known: names of the placeholders that can be filled in.

        Raises:
            ConfigError: it is empty, has an open quotation, needs a shell, or has a placeholder that is not known.
        """
        joined = _CONTINUED.sub(lambda found: found[1] or "", text)
        try:
            words = tuple(shlex.split(joined))
        except ValueError as error:
            raise ConfigError(f"{place}={shortened(text, SHOWN)!r}: {error}; close it, or escape it") from None
        if not words or not words[0]:
            raise ConfigError(f"{place}={shortened(text, SHOWN)!r} names no program; write a command")
        _refuse_shell(joined, words[0], place)
        for word in words:
            _check_word(word, place, known)
        return cls(text=text, place=place, words=words)

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of the placeholders that occur."""
        return frozenset(name for word in self.words for _, name in _parts(word) if name is not None)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the words with a value for each placeholder; a word that is empty then stays a word."""
        return [
            "".join(literal + (values[name] if name is not None else "") for literal, name in _parts(word))
            for word in self.words
        ]

    def program_problem(self, folder: Path) -> str | None:
        """Return why the program cannot be started from a folder; None: it can, or a placeholder names it."""
        if any(name is not None for _, name in _parts(self.words[0])):
            return None
        program = self.filled({name: "" for name in self.placeholders})[0]
        path = str(folder / program) if "/" in program else program
        if shutil.which(path) is not None:
            return None
        if "/" not in program:
            way_out = "install it, or write its path"
            return f"{self.place}: the program {shortened(program, SHOWN)!r} is not on the PATH; {way_out}"
        what = "cannot be executed; chmod +x it" if Path(path).is_file() else f"does not exist (seen from {folder})"
        return f"{self.place}: the program {shortened(program, SHOWN)!r} {what}"


def _refuse_shell(text: str, program: str, place: str) -> None:
    """Refuse what only a shell would act on: as a word like any other it would do something else, without an error."""
    bare = re.sub(_QUOTED, "Q", text, flags=re.DOTALL)
    found = _SHELL_ONLY.search(bare)
    shown = shortened(text, SHOWN)
    if found:
        raise ConfigError(
            f"{place}={shown!r}: {found[0]!r} means something to a shell only, and there is none; put it in quotes if "
            "it is meant literally, or call a shell: bash -c '...'"
        )
    if _ASSIGNMENT.match(program):
        raise ConfigError(f"{place}={shown!r} begins with a variable, not a program; write env {program} ...")


def _check_word(word: str, place: str, known: Collection[str]) -> None:
    names = ", ".join(f"{{{name}}}" for name in known)
    try:
        found = [name for _, name in _parts(word) if name is not None]
    except ValueError:
        raise ConfigError(
            f"{place}: the braces of {shortened(word, SHOWN)!r} are no placeholder; write {{{{ and }}}} for braces "
            f"that stand for themselves; known placeholders: {names}"
        ) from None
    for name in found:
        if name not in known:
            raise ConfigError(
                f"{place}: {{{shortened(name, SHOWN)}}} is no placeholder; known: {names}; write {{{{ and }}}} for "
                "braces that stand for themselves"
            )


def _parts(word: str) -> Iterator[tuple[str, str | None]]:
    """Yield literal text and the placeholder after it, None at the end.

    Raises:
        ValueError: a brace stands alone, or there is more than a name between two.
    """
    for literal, name, spec, conversion in Formatter().parse(word):
        if spec or conversion:
            raise ValueError("more than a name between braces")
        yield literal, name
