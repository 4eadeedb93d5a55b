"""One question and one answer: `{query, response, history: [[question, answer]], system, images}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from adaptinf.formats.columns import has, image_paths
from adaptinf.formats.conversation import Conversation, rest
from adaptinf.formats.exchanges import HISTORY, exchange, history_of, text_under
from adaptinf.registry import dataset_format

USED = frozenset({"query", "response", HISTORY, "image", "images"})


@dataset_format("query_response")
class QueryResponse:
    """Rows with `query` and `response`, and `<image>` tags in the question."""

    answer_key: ClassVar[str] = "response"
    """Key of an answer that rows of a test file with `answers` may lack."""

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has `query` and `response`."""
        return has(row, "query", "response")

    def own_keys(self, row: Mapping[str, Any]) -> list[str]:
        """Return the keys of a row that are this format's own."""
        return ["query", "response"]

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation."""
        last = exchange(text_under(row, "query"), text_under(row, "response"))
        return Conversation(turns=[*history_of(row), *last], images=image_paths(row), meta=rest(row, USED))
