"""FineVision and The Cauldron: `{images: [image], texts: [{user, assistant, source}]}`, without image tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import image_paths, is_missing, listed
from adaptinf.formats.conversation import Conversation, Turn, rest
from adaptinf.formats.exchanges import exchange, optional_text, text_under
from adaptinf.formats.reasons import BadRow, shown, shown_keys
from adaptinf.formats.turn_keys import is_learnt, unread_keys
from adaptinf.formats.turns import images_first
from adaptinf.registry import dataset_format

USED = frozenset({"texts", "image", "images"})
PAIR_KEYS = ("user", "assistant", "system")


@dataset_format("texts")
class Texts:
    """Rows of FineVision and The Cauldron; the images stand before the first question."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `texts` with questions and answers."""
        pairs = listed(row.get("texts"))
        return isinstance(pairs, list) and all(
            isinstance(pair, Mapping) and "user" in pair and "assistant" in pair for pair in pairs
        )

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["texts"] if row["texts"] else []

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        if "texts" not in row:
            raise BadRow(f"the row has no `texts`; its keys are {shown_keys(row)}")
        pairs = listed(row["texts"])
        if not isinstance(pairs, list):
            raise BadRow(f"texts is {shown(pairs)}, not a list of questions and answers")
        turns: list[Turn] = []
        unread: list[str] = []
        for number, pair in enumerate(pairs, 1):
            turns += _turns(pair, number, unread)
        images = [image for image in image_paths(row) if not is_missing(image)]
        return Conversation(turns=images_first(turns, len(images)), images=images, meta=rest(row, USED), unread=unread)


def _turns(pair: object, number: int, unread: list[str]) -> list[Turn]:
    """Return the turns of one pair; the names of keys that nothing reads are added to `unread`."""
    if not isinstance(pair, Mapping):
        raise BadRow(f"pair {number} of texts is {shown(pair)}, not an object with user and assistant")
    unread += [f"texts[].{key}" for key in unread_keys(pair, number, PAIR_KEYS, "assistant")]
    question, answer = exchange(text_under(pair, "user"), text_under(pair, "assistant"))
    system = optional_text(pair, "system")
    opening = [Turn("system", [system])] if system else []
    return [*opening, question, answer._replace(is_learnt=is_learnt(pair, number))]
