"""Rows that have a format's keys with values of any kind: each is a sample or rejected, and nothing else is raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.registry import dataset_format

WORDS = st.sampled_from(
    ["", "Q", "<image>", "<image_00>", "human", "gpt", "user", "assistant", "text", "image", "a.png", "null", "nan"]
    + ['[["a", "b"]]', '[{"role": "user", "content": "Q"}]', '[{"type": "text", "text": 3}]', "[", "[1", "\x00"]
)
LEAVES = st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | WORDS | st.text(max_size=4)
KEYS = st.sampled_from(
    "from value role content type text image index url path bytes base64 source user assistant system loss weight "
    "tool_calls mask <image> <image_00>".split()
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=2), inner, max_size=4),
    max_leaves=8,
)
ROLES = st.sampled_from(["human", "gpt", "user", "assistant", "system", "tool", "USER"])
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "image", "image_url"]) | ANY},
        optional={"text": WORDS | ANY, "index": st.integers(-2, 3) | ANY, "image": ANY, "source": ANY},
    ),
    max_size=3,
)
TURN = st.fixed_dictionaries(
    {},
    optional={"from": ROLES | ANY, "value": WORDS | ANY, "role": ROLES | ANY, "content": WORDS | BLOCKS | ANY}
    | {"user": WORDS, "assistant": WORDS, "loss": ANY},
)
TURNS = st.lists(TURN, max_size=4) | st.dictionaries(KEYS, st.lists(ANY, max_size=2), max_size=3) | ANY
LISTS = ("conversations", "messages", "conversation", "texts", "prompt", "completion", "history")
OTHERS = (
    "id image images system tools instruction input inputs output outputs image_base64_str query response image_id "
    "caption task_type src_image pcl task_name objects channel label chosen rejected kto_tag videos skill task"
).split()


ROWS = st.fixed_dictionaries({}, optional={key: TURNS for key in LISTS} | {key: ANY for key in OTHERS})


@given(rows=st.lists(ROWS, max_size=4), format=st.sampled_from([*dataset_format.names(), None]))
@settings(max_examples=100, deadline=None)
def test_a_row_of_any_values_is_a_sample_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], format: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_text(json.dumps(rows))
    try:
        found = list(read(path, format, check_images=False))
    except DataError as error:
        assert format is None and len(str(error).replace(str(path), "")) <= 200
        return
    assert len(found) == len(rows)
    for row in found:
        if isinstance(row, Rejected):
            assert len(row.reason) <= 300 and "\n" not in row.reason
            continue
        assert isinstance(row, Sample)
        assert any(turn["role"] == "assistant" for turn in row.messages)
        assert len(row.images) == sum(block["type"] == "image" for turn in row.messages for block in turn["content"])
        json.dumps([row.meta, row.messages])


@given(row=st.fixed_dictionaries({}, optional={key: ANY for key in ("q", "a", "pic", "key", "rules")}))
@settings(max_examples=40, deadline=None)
def test_own_columns_of_any_values_are_a_sample_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "own.json"
    columns = {"question": "q", "answer": "a", "image": "pic", "id": "key", "system": "rules"}
    path.write_text(json.dumps([dict.fromkeys(columns.values(), "x"), row]))
    assert len(list(read(path, columns=columns, check_images=False))) == 2
