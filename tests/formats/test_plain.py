"""Plain rows become the same samples whether they are read the quick way or the general one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptinf.data import Rejected, Sample
from adaptinf.formats import read
from adaptinf.formats.llava import Llava
from adaptinf.formats.plain import PlainRow, plain_row, shape_of
from adaptinf.registry import dataset_format, scope

TEXTS = st.sampled_from(
    [
        "What?",
        "Red.",
        "",
        " ",
        "\n",
        "a < b",
        "<image>",
        "x <video>",
        "<audio>y",
        "<br>",
        '[{"type": "text", "text": "a"}]',
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ROLES = st.sampled_from(["human", "gpt", "user", "assistant", "system", "tool", "model", "GPT"])
VALUES: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | TEXTS
OTHERS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(
        (
            "id uid question_id image images system system_prompt tools video audio skill task weight note "
            "rejected rejected_response kto_tag"
        ).split()
    ),
    VALUES | st.just([]) | st.just({}) | st.lists(VALUES, max_size=2),
    max_size=4,
)
NAMES = {"llava": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}


@st.composite
def near_plain_rows(draw: st.DrawFn, format: str) -> dict[str, Any]:
    """Return a row that is plain, or nearly so."""
    turns_key, role_key, text_key = NAMES[format]
    pairs = draw(st.lists(st.tuples(ROLES, TEXTS), max_size=4))
    turns: list[Any] = [{role_key: role, text_key: text} for role, text in pairs]
    if turns and draw(st.integers(0, 5)) == 0:
        turns[0] |= draw(st.sampled_from([{"loss": False}, {"note": "x"}, {role_key: ["gpt"]}, {text_key: 3}]))
    if draw(st.integers(0, 1)):
        turns += [{role_key: "user", text_key: "And?"}, {role_key: "assistant", text_key: "Yes."}]
    others = draw(OTHERS)
    return {**others, turns_key: turns} if draw(st.booleans()) else {turns_key: turns, **others}


def facts(row: Sample | Rejected) -> dict[str, Any]:
    """Return all that is known of a row, what does not count for equality included; floats by their text."""
    return {key: repr(value) for key, value in vars(row).items()}


@pytest.mark.parametrize("format", NAMES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_row_becomes_the_same_either_way(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(near_plain_rows(format), min_size=1, max_size=4))
    path = tmp_path_factory.getbasetemp() / f"plain-{format}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick = list(map(facts, read(path, format)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adaptinf.formats.rows.shape_of", lambda plugin: None)
        assert list(map(facts, read(path, format))) == quick


@pytest.mark.parametrize("format", NAMES)
def test_the_rows_of_a_large_dataset_are_plain(format: str) -> None:
    turns_key, role_key, text_key = NAMES[format]
    turns = [{role_key: "user", text_key: "1 < 2?"}, {role_key: "assistant", text_key: "Yes."}]
    shape = shape_of(dataset_format[format]())
    assert shape is not None
    found = plain_row(7, {"id": "a", "image": None, "skill": "sums", turns_key: turns, "note": 1}, shape)
    assert found == PlainRow(7, "a", ["user", "assistant"], ["1 < 2?", "Yes."], {"skill": "sums", "note": 1})
    assert found.unread == ("note",)


def test_a_format_derived_from_another_reads_every_row_itself(tmp_path: Path) -> None:
    class Shouted(Llava):
        def parse(self, row: Any) -> Any:
            shouted = [{**turn, "value": turn["value"].upper()} for turn in row["conversations"]]
            return super().parse({**row, "conversations": shouted})

    path = tmp_path / "data.jsonl"
    turns = [{"from": "human", "value": "what?"}, {"from": "gpt", "value": "red"}]
    path.write_text(json.dumps({"conversations": turns}))
    with scope():
        dataset_format("shouted")(Shouted)
        (sample,) = read(path, "shouted")
    assert isinstance(sample, Sample) and sample.turns == (("user", "WHAT?"), ("assistant", "RED"))
