"""M3IT: `{instruction, inputs, image_base64_str: [base64 text], outputs}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from adaptinf.formats.columns import has, image_path, image_paths, is_missing, listed
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.exchanges import exchange, optional_text, text_under
from adaptinf.formats.turns import images_first
from adaptinf.registry import dataset_format

IMAGES = "image_base64_str"
USED = frozenset({"instruction", "inputs", "outputs", IMAGES, "image", "images"})


@dataset_format("m3it")
class M3it:
    """Rows of M3IT; the question is all images, the instruction and, on the next line, the inputs."""

    answer_key: ClassVar[str] = "outputs"
    """Key of an answer that rows of a test file with `answers` may lack."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `instruction` and `outputs`."""
        return has(row, "instruction", "outputs")

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return [key for key in ("instruction", "outputs", IMAGES) if has(row, key)]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        question = "\n".join(filter(None, (optional_text(row, "instruction"), optional_text(row, "inputs"))))
        turns = exchange(question, text_under(row, "outputs"))
        given = listed(row.get(IMAGES))
        encoded = [image_path(item) for item in (given if isinstance(given, list) else [given]) if not is_missing(item)]
        images = [*encoded, *(image for image in image_paths(row) if not is_missing(image))]
        return Conversation(turns=images_first(turns, len(images)), images=images, meta=rest(row, USED))
