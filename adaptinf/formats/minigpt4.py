"""MiniGPT-4, stage 2: `{annotations: [{image_id, caption}]}`; the file has no questions, the images are `<id>.jpg`."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from adaptinf.formats.columns import has
from adaptinf.formats.conversation import Conversation, Turn, rest
from adaptinf.formats.exchanges import text_under
from adaptinf.registry import dataset_format

QUESTIONS = (
    "Describe this image in detail.",
    "Take a look at this image and describe what you notice.",
    "Please provide a detailed description of the picture.",
    "Could you describe the contents of this image for me?",
)
"""The questions that MiniGPT-4's own training asks of these images, one drawn at random."""
USED = frozenset({"image_id", "caption"})


@dataset_format("minigpt4")
class MiniGpt4:
    """Captions of MiniGPT-4's second stage; each image is asked the same of QUESTIONS whenever it is read."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row is a caption of an image that it names by id only."""
        return has(row, "image_id", "caption")

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["image_id", "caption"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return a question of the file's kind and the row's caption."""
        image_id = text_under(row, "image_id")
        question = QUESTIONS[zlib.crc32(image_id.encode()) % len(QUESTIONS)]
        turns = [Turn("user", [f"<image>\n{question}"]), Turn("assistant", [text_under(row, "caption")])]
        return Conversation(
            turns=turns,
            images=[f"image/{image_id}.jpg"],
            meta={"id": row.get("id", image_id), **rest(row, USED)},
            notes=(f"the row has no question: {question!r} was put in",),
        )
