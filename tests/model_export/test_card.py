"""The model card: every number is the run's, nothing in it is a path or could be Markdown, HTML or metadata of data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from adaptinf.config import DatasetConfig
from adaptinf.data import Evaluation, Selection, Trained
from adaptinf.model_export.card import plain, table, write_card
from adaptinf.model_export.data_rows import data_rows
from adaptinf.model_export.made import Made
from adaptinf.model_export.method_rows import selection_rows, training_rows
from adaptinf.model_export.origin_rows import at_most
from adaptinf.model_export.request import Request
from adaptinf.model_export.skills import measured
from adaptinf.models.asking import Asking
from adaptinf.models.passes import Agreement
from adaptinf.runs import Run
from adaptinf.storage import store, tables
from tests.helpers.run_folders import edit_config, run_folder

MATRIX = [[0.2, 0.5, np.nan], [0.8, 0.5, 0.1], [0.6, 0.5, 0.3]]
"""Base model and two steps: the first skill is best after step 0."""


@pytest.fixture
def run(tmp_path) -> Run:
    return run_folder(tmp_path / "run", "adapt", MATRIX, introduced_at=[0, -1, 0])


def made(**changes) -> Made:
    asking = Asking(
        model_class="AutoModelForCausalLM",
        reader_class="AutoTokenizer",
        has_vision=False,
        is_text=True,
        placeholder=None,
        add_special=False,
        opening="",
        ends=(3,),
        end_texts=("<end>",),
        writes_today=False,
        left_out={},
    )
    plain_made = Made(
        asking=asking, dtype="bfloat16", agreement=Agreement(0.002, True), ways=(), failed="", rank=0, unserved=""
    )
    asking_changes = {name: value for name, value in changes.items() if name in Asking.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in asking_changes}
    return replace(plain_made, asking=replace(asking, **asking_changes), **rest)


def card_of(run: Run, tmp_path: Path, *, step: int = 1, form="merged", name="out", **changes) -> ModelCard:
    part = tmp_path / "part"
    part.mkdir(exist_ok=True)
    out = tmp_path / name
    request = Request(run=run, step=step, form=form, dtype="bfloat16", out=out, weights=run.stage_folder(step, Trained))
    write_card(request, made(**changes), part)
    return ModelCard.load(part / "README.md")


def rows_below(card: ModelCard, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, its head included."""
    lines = card.text.partition(f"\n## {heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return [found[0], *found[2:]]


def test_each_skill_stands_beside_the_base_model_with_intervals(run, tmp_path):
    head, *rows = rows_below(card_of(run, tmp_path), "How it answers")
    assert head[:4] == ["skill", "metric", "test items", "first taught by"]
    assert head[4:] == ["base model", "this model", "difference in points"]
    named = {row[0]: row for row in rows}
    assert named["s1"][3:5] == ["known to the base", "50.0 %"], "skills that the base knows come first"
    assert rows[0][0] == "s1"
    assert named["s0"][2:] == ["10", "d0", "20.0 %", "60.0 % (31.3 % to 83.2 %)", "+40.0 (+2.1 to +64.6)"]
    assert named["s2"][4:] == ["–", "30.0 % (10.8 % to 60.3 %)", "–"], "the base model was not tested"


def test_what_was_forgotten_is_the_loss_against_the_best_step(run, tmp_path):
    card = card_of(run, tmp_path)
    assert "Of 3 skills tested at least twice since introduced, 1 were better after an earlier step." in card.text
    head, row = rows_below(card, "What was forgotten")
    assert head == ["skill", "best", "reached after", "this model", "loss in points", "whatever the format"]
    assert row[:4] == ["s0", "80.0 %", "step 0 (d0)", "60.0 %"] and row[4].startswith("−20.0 (") and row[5] == "–"


def test_a_forgotten_format_is_told_from_a_forgotten_skill(run, tmp_path):
    found = run.load(1, Evaluation)
    assert found is not None
    replace(found, tolerant=np.array([[0.2, 0.5, np.nan], [0.8, 0.5, 0.1], [0.79, 0.5, 0.3]])).save(
        run.stage_folder(1, Evaluation)
    )
    assert rows_below(card_of(run, tmp_path), "What was forgotten")[1][5] == "−1.0"


def test_an_earlier_step_knows_nothing_of_later_ones(run, tmp_path):
    card = card_of(run, tmp_path, step=0)
    named = {row[0]: row for row in rows_below(card, "How it answers")[1:]}
    assert named["s0"][5].startswith("80.0 %")
    assert len(rows_below(card, "Data")) == 2 and "d1" not in card.text
    assert "This is the model after step 0, in which d0 arrived" in card.text


def test_a_run_without_tests_says_so(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", [[], []])
    card = card_of(run, tmp_path, step=0)
    assert "No skill was tested after this step." in card.text
    assert "Not measured: no skill was tested twice since it was introduced." in card.text


def test_data_are_counted_by_dataset(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", [[0.1], [0.2], [0.3]], left_out={"unreadable": ["d1/0"]})
    first, second = data_rows(run, 1)
    # The first dataset was selected in both steps, the second in one, and one of its samples could not be read.
    assert (first.rows, first.num_trained, first.num_times) == (2, 2, 4)
    assert (second.rows, second.num_trained, second.num_times) == (2, 1, 1)
    selections = [run.load(step, Selection) for step in (0, 1)]
    assert [len(selection.ids) for selection in selections if selection is not None] == [2, 4]


def test_only_hub_names_are_in_the_metadata_and_licences_are_repeated(run, tmp_path):
    named = [DatasetConfig(name="d0", path="owner/data"), DatasetConfig(name="d1", path="/home/me/secret/d1.json")]
    model = run.config.model.model_copy(update={"path": "o/base"})
    config = run.config.model_copy(update={"stream": named, "model": model})
    edit_config(run.folder, config)
    card = card_of(Run.open(run.folder), tmp_path)
    data = card.data.to_dict()
    assert data["datasets"] == ["owner/data"] and data["base_model"] == "o/base"
    assert (data["library_name"], data["pipeline_tag"]) == ("transformers", "text-generation")
    assert data["base_model_relation"] == "finetune"
    assert "[owner/data](https://huggingface.co/datasets/owner/data)" in card.text
    assert "secret" not in card.content and "/home" not in card.content
    assert [row[-1] for row in rows_below(card, "Data")[1:]] == ["not known", "not known"]


def test_a_licence_of_the_base_model_is_in_the_metadata(run, tmp_path):
    base = tmp_path / "my-base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: other\nlicense_name: house\nlicense_link: https://x.y/z\n---\n")
    (base / "config.json").write_text("{}")
    model = run.config.model.model_copy(update={"path": str(base)})
    edit_config(run.folder, run.config.model_copy(update={"model": model}))
    card = card_of(Run.open(run.folder), tmp_path)
    data = card.data.to_dict()
    assert (data["license"], data["license_name"], data["license_link"]) == ("other", "house", "https://x.y/z")
    assert data["base_model"] == "my-base" and str(tmp_path) not in card.content
    assert "put its name on the hub in its place before you publish" in card.text


def test_names_of_data_are_neither_markdown_nor_html_nor_metadata(tmp_path):
    run = run_folder(tmp_path / "run", "adapt", [[0.1], [0.2]])
    evil = "a | b\n---\nlicense: mit\n---\n<script>x</script> [l](http://e) `c` \x1b[31m"
    for step in (-1, 0):
        found = run.load(step, Evaluation)
        assert found is not None
        folder = run.stage_folder(step, Evaluation)
        skill = tables.text_array([evil] * len(found.predictions["skill"]))
        replace(found, skills=(evil,), predictions={**found.predictions, "skill": skill}).save(folder)
    card = card_of(run, tmp_path, step=0, name="<b>out")
    (row,) = rows_below(card, "How it answers")[1:]
    assert row[0] == plain(evil) and len(row) == 7
    assert "<script>" not in card.content and "\x1b" not in card.content and "license" not in card.data.to_dict()
    assert "\n# \\<b\\>out\n" in card.content


def test_settings_that_may_be_private_are_not_told(run, tmp_path):
    training = run.config.training.model_copy(
        update={"arguments": {"adam_beta2": 0.9, "hub_token": "hf_secret0123456789", "deepspeed": "/home/me/ds.json"}}
    )
    config = run.config.model_copy(update={"training": training})
    edit_config(run.folder, config)
    opened = Run.open(run.folder)
    rows = dict([*selection_rows(opened, 1), *training_rows(opened, 1)])
    assert rows["method"] == "adapt" and rows["argument `adam_beta2`"] == "0.9"
    assert rows["further arguments, set"] == "`deepspeed`, `hub_token`"
    assert rows["optimiser steps, all steps together"] == "8"
    card = card_of(opened, tmp_path)
    assert "secret" not in card.content and "/home" not in card.content


def test_a_harness_without_items_gives_a_score_and_its_own_error(run, tmp_path):
    for step in (-1, 0, 1):
        found = run.load(step, Evaluation)
        assert found is not None
        is_kept = found.predictions["skill"] != "s1"
        errors = np.where(np.arange(3) == 1, 0.05, np.nan) * np.ones_like(found.matrix)
        left = {name: column[is_kept] for name, column in found.predictions.items()}
        changed = replace(found, predictions=left, standard_errors=errors, metrics=("exact", "lmms_eval mme", "exact"))
        changed.save(run.stage_folder(step, Evaluation))
    named = {row[0]: row for row in rows_below(card_of(run, tmp_path), "How it answers")[1:]}
    assert named["s1"][1] == "lmms\\_eval mme"
    assert named["s1"][5:] == ["50.0 % (40.2 % to 59.8 %)", "0.0"]


def test_items_that_differ_from_those_of_the_base_model_are_not_compared(run):
    found = run.load(-1, Evaluation)
    assert found is not None
    other = {**found.predictions, "id": tables.text_array([f"{id}x" for id in found.predictions["id"]])}
    replace(found, predictions=other).save(run.stage_folder(-1, Evaluation))
    after = measured(run, 1)
    assert after is not None
    (row,) = [row for row in after.rows if row.skill == "s0"]
    assert row.difference.mean == pytest.approx(0.4) and np.isnan(row.difference.low)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ends": ()}, 'written = tokens[0, inputs["input_ids"].shape[1] :].tolist()\nprint('),
        ({"unserved": "DoRA"}, "vLLM does not serve an adapter with DoRA. Serve the merged model"),
        ({"rank": 9}, "--enable-lora --max-lora-rank 16 "),
        ({"rank": 128}, "--max-lora-rank 128 "),
        ({"rank": 1000}, "vLLM takes ranks up to 512, and this adapter has 1000: serve the merged model."),
        ({"failed": "no"}, "model = PeftModel.from_pretrained(model, folder)\nmodel.generation_config"),
        ({"add_special": True}, '`"temperature": 0`, `"add_special_tokens": true`'),
        ({"left_out": {"top_p": 0.8}}, "The base model came with `top_p: 0.8`"),
        ({"writes_today": True}, "The chat template writes the date; the tests had "),
        ({"opening": "<think></think>"}, '`"<think></think>"` stands between the prompt and the answer'),
        ({"opening": None}, "The run's prompts are not those that the chat template writes"),
    ],
)
def test_the_card_says_how_this_model_is_served(changes, said, run, tmp_path):
    assert said in card_of(run, tmp_path, form="adapter", **changes).text


def test_a_merged_model_is_served_by_its_folder(run, tmp_path):
    card = card_of(run, tmp_path, name="my-model")
    assert "```sh\nvllm serve my-model\n```" in card.text and "enable-lora" not in card.text
    assert 'folder = "my-model"' in card.text and 'dtype="bfloat16")' in card.text


def test_logs_without_what_later_versions_record_are_read(run, tmp_path):
    for step in (0, 1):
        Trained(info={"samples": 3}).save(run.stage_folder(step, Trained))
    assert dict(training_rows(run, 1))["optimiser steps, all steps together"] == "not known"
    assert store.utc_now()[:10] in card_of(run, tmp_path).text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.001 %"), (7e-9, "0.001 %"), (0.00121, "0.13 %"), (0.02, "2 %"), (0.9999, "100 %")]
)
def test_distances_are_bounds(share, text):
    assert at_most(share) == text


def test_a_table_has_one_rule_and_a_line_a_row():
    assert table([("a", "b"), ("1", "2\n3")]).splitlines() == ["| a | b |", "|---|---|", "| 1 | 2 3 |"]
    assert plain("a|b *c*\nd") == "a\\|b \\*c\\* d"
