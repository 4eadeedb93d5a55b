"""Image tags of a sample as text: with the line breaks that they had in the file, else each on a line of its own."""

from __future__ import annotations

from collections.abc import Iterator

from adaptinf.data import Message, Sample
from adaptinf.formats.conversation import TAG


def tagged_texts(sample: Sample) -> list[str]:
    """Return each turn as one text with `<image>` tags; reading it gives the turn's blocks again."""
    tags = iter(sample_tags(sample))
    return [_text(message, tags) for message in sample.messages]


def sample_tags(sample: Sample) -> tuple[str | None, ...]:
    """Return the tag of each image as the file has it; None where it is unknown."""
    return sample.tags or (None,) * len(sample.images)


def default_tag(message: Message, number: int) -> str:
    """Return the tag of block `number` of a turn on a line of its own."""
    content = message["content"]
    before = "\n" if number and content[number - 1]["type"] == "text" else ""
    after = "\n" if number + 1 < len(content) else ""
    return f"{before}{TAG}{after}"


def _text(message: Message, tags: Iterator[str | None]) -> str:
    parts = [
        block["text"] or "" if block["type"] == "text" else next(tags, None) or default_tag(message, number)
        for number, block in enumerate(message["content"])
    ]
    for number, block in enumerate(message["content"]):
        if block["type"] != "image":
            continue
        # A line break beside a tag is read as the tag's, so that one of the text needs another.
        if number and not parts[number].startswith("\n") and parts[number - 1].endswith("\n"):
            parts[number] = "\n" + parts[number] if message["content"][number - 1]["type"] == "text" else parts[number]
        if number + 1 < len(parts) and not parts[number].endswith("\n") and parts[number + 1].startswith("\n"):
            parts[number] += "\n" if message["content"][number + 1]["type"] == "text" else ""
    return "".join(parts)
