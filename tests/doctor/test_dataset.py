"""validate: everything that is noticed about a dataset is one table, and the exit code says whether it can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptinf.doctor.dataset import validate
from adaptinf.doctor.findings import kind_of
from tests.helpers.conversations import BASE_PATH

Row = dict[str, Any]


def talk(question: str = "2 + 2?", answer: str = "4", **others: Any) -> Row:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}], **others}


def flagged(**flag: Any) -> Row:
    row = talk()
    row["conversations"] += [{"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes.", **flag}]
    return row


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(rows: list[Any]) -> str:
        (tmp_path / "d.json").write_text(json.dumps(rows))
        return str(tmp_path / "d.json")

    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "deep.png")
    return write


def counts(found: Any) -> dict[str, int]:
    return {one.finding: one.rows for one in found.findings}


def test_everything_noticed_is_counted_by_kind_with_an_example(written: Any) -> None:
    rows = [
        talk(source="web", id="a"),
        talk(source="book", height=3),
        flagged(weight=0),
        talk(tools=[{"name": "t"}]),
        talk("What?", image="deep.png"),
        talk("<image>\nWhat?", image="gone-1.png"),
        talk("<image>\nWhat?", image="gone-2.png"),
        talk(video="v.mp4"),
        talk(answer=""),
    ]
    found = validate(written(rows))
    assert counts(found) == {
        "rejected: image ... is missing": 2,
        "rejected: video and audio are not supported yet: the row has `video`": 1,
        "rejected: empty answer in turn N": 1,
        "unused key: source": 2,
        "unused key: height": 1,
        "turns with weight: 0, loss: false or train: false": 1,
        "tools": 1,
        "repaired: N image has no image tag: put before the first user turn": 1,
        "images of more than 8 bits: 12 bits in 16": 1,
    }
    first = found.findings[0]
    assert first.example.endswith("d.json row 5: image 'gone-1.png' is missing") and first.advice
    assert found.columns == ()
    assert found.is_good and found.num_learnable == found.num_samples == 5


def test_unused_keys_are_told_with_what_they_could_be_used_for(written: Any) -> None:
    rows = [talk(rating=3, source="web", picture="gone/a.jpg"), talk(rating="4.5", picture=["b.png"]), talk(rare=1)]
    advice = {one.finding: one.advice for one in validate(written(rows)).findings}
    assert advice == {
        "unused key: rating": "none if it is not needed; as a score: selection.scorers: [column:rating]",
        "unused key that names images: picture": "columns: {image: KEY} reads them, or leave the column out",
        "unused key: source": "none if it is not needed: nothing reads it",
        "unused key: rare": "none if it is not needed: nothing reads it",
    }


def test_columns_with_numbers_are_listed_as_scores(written: Any, call: Any) -> None:
    path = written([talk(relevance_ratings=[5, 4], length="12", source="x"), talk(relevance_ratings=[1])])
    path_text = str(path)
    found = validate(path_text)
    assert [(one.name, one.rows, one.lowest, one.highest) for one in found.columns] == [
        ("relevance_ratings", 2, 1, 4.5)
    ]
    line = "columns with numbers, for selection.scorers: [column:NAME]: relevance_ratings (2 rows, 1 to 4.5)"
    assert line in call("validate", path_text)[1].splitlines()
    numbers = {"name": "relevance_ratings", "rows": 2, "lowest": 1.0, "highest": 4.5}
    assert json.loads(call("validate", path_text, "--json")[1])["numeric_columns"] == [numbers]


def test_equal_reasons_of_several_rows_are_one_kind() -> None:
    assert kind_of("image 'a\\'1.jpg' is missing") == kind_of('image "b" is missing') == "image ... is missing"
    assert kind_of("empty answer in turn 2") == kind_of("empty answer in turn 1,000") == "empty answer in turn N"
    assert kind_of("image is base64 text of 19,372 characters") == "image is base64 text of N characters"


def test_a_model_adds_what_it_cannot_use(written: Any) -> None:
    rows = [
        talk(),
        talk(answer="word " * 300),
        talk("word " * 300, "never read"),
        talk("Say <|end|> now."),
        flagged(loss=False),
    ]
    found = validate(written(rows), model=str(BASE_PATH), max_length=64)
    kinds = counts(found)
    assert kinds["answers cut by max_length"] == kinds["no answer left within max_length: not learnt"] == 1
    (advice,) = {one.advice for one in found.findings if "max_length" in one.finding}
    assert sum(number for kind, number in kinds.items() if kind.startswith("rejected by the model")) == 1
    assert found.num_learnable == 3 and found.tokens is not None and found.tokens.longest == 64
    enough = int(advice.split(": ")[1].split()[0])
    fitting = validate(written(rows), model=str(BASE_PATH), max_length=enough)
    assert not any("max_length" in kind for kind in counts(fitting))
    tighter = validate(written(rows), model=str(BASE_PATH), max_length=enough - 1)
    assert any("max_length" in kind for kind in counts(tighter)), "the length that loses none is the smallest"


def test_the_first_answer_is_that_of_the_first_sample_that_the_model_can_use(written: Any) -> None:
    found = validate(written([talk("<|end|>"), talk(answer="seven"), talk()]), model=str(BASE_PATH))
    assert found.tokens is not None and found.tokens.measured == 2 and found.tokens.learns_to_stop
    assert (found.tokens.first_answer or "").replace(" ", "") == "seven<|end|>"


def test_nothing_to_learn_with_a_model_is_no_good(written: Any) -> None:
    found = validate(written([talk("word " * 300)]), model=str(BASE_PATH), max_length=64)
    assert (found.num_samples, found.num_learnable, found.is_good) == (1, 0, False)


def test_a_metric_names_right_answers_that_it_cannot_read(written: Any) -> None:
    found = validate(written([talk(answer="[1, 2, 3, 4]"), talk(answer="none"), talk(answer="left")]), metric="iou")
    assert counts(found) == {"no test item: the right answer ... holds no box of four numbers": 2}


def test_a_key_that_the_metric_reads_is_not_called_unused(written: Any) -> None:
    path = written([{"query": "Which?", "response": "B", "choices": ["red", "blue"], "source": "x"}])
    assert counts(validate(path, metric="multiple_choice")) == {"unused key: source": 1}
    assert counts(validate(path, metric="exact")) == {"unused key: choices": 1, "unused key: source": 1}


def test_allowed_answers_are_judged_with_the_options_of_the_metric(written: Any, call: Any) -> None:
    rows = [
        {"query": "Where?", "answers": ["[0.1, 0.2, 0.3, 0.4]", "[0.1, 0.2, 0.3, 0.5]"]},
        {"query": "Where?", "answers": ["[1, 2, 3, 4]"]},
        {"query": "Where?", "answers": []},
    ]
    found = validate(written(rows), metric="iou", options={"boxes": "unit"})
    assert found.num_allowed == {2: 1} and found.as_json()["items_by_allowed_answers"] == {"2": 1}
    kinds = counts(found)
    assert len(kinds) == 2 and not any("unused key" in kind for kind in kinds)
    assert any("holds a box outside of the image" in one.finding + one.example for one in found.findings)
    assert validate(written(rows), metric="iou").num_allowed == {1: 1, 2: 1}
    code, out, _ = call("validate", written(rows), "--metric", "iou", "--set", "boxes=unit", "--quiet")
    assert code == 0 and "\nallowed answers of test items: 1 with 2\n" in out
    for arguments, reason in (
        (["--metric", "iou", "--set", "boxs=unit"], "metric iou has no option 'boxs'; did you mean 'boxes'?"),
        (["--metric", "iou", "--set", "boxes=inch"], "option boxes of metric iou is 'inch'; it should be 'pixels'"),
        (["--set", "boxes=unit"], "boxes is an option of a metric; name the metric as well"),
    ):
        code, _, error = call("validate", written(rows), "--quiet", *arguments)
        assert code == 2 and reason in error


def test_the_command_exits_with_2_where_the_dataset_cannot_be_used(written: Any, call: Any, tmp_path: Path) -> None:
    code, out, _ = call("validate", written([talk(), talk(height=1), 3]), "--quiet")
    assert code == 0 and out.startswith(f"{tmp_path / 'd.json'}: 2 samples, 2 answers; images: 2 with 0\n")
    assert "\n1 rejected\n" in out and "\nfinding " in out and "unused key: height" in out
    (tmp_path / "cut.json").write_text(json.dumps([talk(), talk()])[:-30])
    code, out, _ = call("validate", tmp_path / "cut.json", "--quiet")
    assert code == 2 and "cannot be read to its end: 1 row read, then broken JSON at line 1 column" in out
    assert out.startswith(f"{tmp_path / 'cut.json'}: 1 sample, 1 answer; ")
    code, out, _ = call("validate", written([talk(answer="")]), "--quiet")
    assert code == 2 and "nothing would be learnt" in out
    code, out, _ = call("validate", written([talk(answer="")]), "--json")
    assert code == 2 and json.loads(out)["learnable"] == 0 and json.loads(out)["findings"][0]["rows"] == 1


def test_names_of_a_million_characters_are_cut(written: Any, call: Any) -> None:
    long = "x" * 1_000_000
    rows = [talk(id=long, skill=long), talk(id=long), talk(**{long: 1}), talk(answer="", id=long), talk(image=long)]
    code, out, _ = call("validate", written(rows), "--quiet")
    assert code == 0 and len(out) < 5000


def test_images_above_a_limit_are_rejected(written: Any, call: Any) -> None:
    code, out, _ = call("validate", written([talk(image="deep.png"), talk()]), "--max-pixels", "15", "--quiet")
    assert code == 0 and "is too large: 4 x 4 pixels, at most 15 are read" in out


def test_rows_that_the_model_refuses_count_as_rejected(tmp_path, call):
    turns = [{"from": "human", "value": "How does a turn end?"}, {"from": "gpt", "value": "With <|end|>."}]
    good = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"id": "quote", "conversations": turns}, {"id": "sum", "conversations": good}]))
    code, out, _ = call("validate", path, "--model", BASE_PATH, "--quiet")
    assert code == 0 and "\n1 rejected\n" in out and "data/quote: turn 2 contains '<|end|>'" in out
    assert "\n0 rejected\n" in call("validate", path, "--quiet")[1]
