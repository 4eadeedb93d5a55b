"""export: what a step selected goes out whole, comes back the same, and trains in another trainer."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from adaptinf import config as configuration
from adaptinf.data import Features
from adaptinf.errors import ConfigError
from adaptinf.formats import read
from adaptinf.formats.llava import Llava
from adaptinf.history.export import export_selection
from adaptinf.pipeline import run_all
from adaptinf.pool.id_lists import as_line, ids_of_lines
from adaptinf.runs import Run
from adaptinf.runs import overrule as amending
from adaptinf.storage import tables
from tests.helpers.conversations import BASE_PATH
from tests.helpers.streams import rows, write_dataset, write_stream
from tests.helpers.text_model import write_text_model

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("one_thread")


def made(folder: Path, contents, *, method="adapt", **changes) -> Run:
    datasets = [write_dataset(folder, name, content) for name, content in contents.items()]
    settings = {"selection": {"method": method, "budget": 10}, "pruning": {"cap": 12}, **changes}
    run = Run.create(folder / "run", configuration.load(write_stream(folder / "s.yaml", datasets, **settings)))
    run_all(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two datasets with the same own ids, and rows that carry what Arrow could not put into one column."""
    odd = [{**row, "difficulty": number if number % 2 else "hard"} for number, row in enumerate(rows(10))]
    return made(tmp_path_factory.mktemp("exported"), {"one": odd, "two": rows(10, word="item")})


def table(run, step, name):
    return tables.read_table(run.steps_folder / f"{step:02d}" / name)


def text_of(sample):
    return [(turn["role"], [(block["type"], block["text"]) for block in turn["content"]]) for turn in sample.messages]


@pytest.mark.parametrize("images", ["reference", "copy"])
@pytest.mark.parametrize(
    ("format", "name"),
    [("llava", "data.json"), ("messages", "data.jsonl"), ("sharegpt", "data.jsonl"), ("swift", "data.jsonl")],
)
def test_what_goes_out_comes_back_the_same(run, tmp_path, format, name, images):
    out = tmp_path / "out"
    manifest = export_selection(run, 1, format, out, images=images).manifest
    chosen = table(run, 1, "selection/selection.parquet")["id"].tolist()
    assert (out / "ids.txt").read_text().split("\n") == [*chosen, ""]
    assert {id.partition("/")[0] for id in chosen} == {"one", "two"}, "or equal own ids are not tested"
    back = list(read(out / name, format, None if images == "copy" else "/"))
    assert [sample.id for sample in back] == [f"data/{id}" for id in chosen]
    for sample, original in zip(back, run.pool(1).view(chosen), strict=True):
        assert text_of(sample) == text_of(original)
        assert [Image.open(path).tobytes() for path in sample.images] == [
            Image.open(path).tobytes() for path in original.images
        ]
        assert sample.meta == {"skill": original.meta["skill"]}
    inside = [path for sample in back for path in sample.images if path.is_relative_to(out.resolve())]
    assert len(inside) == (sum(len(sample.images) for sample in back) if images == "copy" else 0)
    assert manifest["samples"] == len(chosen) == 10
    assert manifest["sources"] == {name: sum(id.startswith(name) for id in chosen) for name in ("one", "two")}


@pytest.mark.parametrize("format", ["llava", "messages", "sharegpt", "swift"])
def test_an_export_names_its_image_folders_and_reads_back_without_them(run, tmp_path, format):
    manifest = export_selection(run, 1, format, tmp_path / "out").manifest
    back = list(read(tmp_path / "out"))
    original = list(run.pool(1).view(table(run, 1, "selection/selection.parquet")["id"]))
    assert [sample.images for sample in back] == [sample.images for sample in original]
    assert manifest["roots"] and all(
        any(path.is_relative_to(root) for root in manifest["roots"]) for sample in original for path in sample.images
    )
    assert export_selection(run, 1, format, tmp_path / "copy", images="copy").manifest["roots"] == []


TALK = [("human", "2 + 2?"), ("gpt", "5"), ("human", "Wrong."), ("gpt", "4")]


def test_turns_that_are_not_learnt_are_flagged_in_an_export_or_counted(tmp_path, call, monkeypatch):
    talk = [{"from": name, "value": text, **({"loss": False} if text == "5" else {})} for name, text in TALK]
    content = [*rows(3, images=False), {"id": "talk", "conversations": talk, "skill": "s"}]
    run = made(tmp_path, {"one": content}, method="random_replay")
    code, out, _ = call("export", run.folder, "--step", "0", "--out", tmp_path / "messages")
    assert code == 0 and "1 sample with turns that are not learnt, flagged as such" in out
    weights = [
        [turn["weight"] for turn in json.loads(line)["messages"] if turn["role"] == "assistant"]
        for line in (tmp_path / "messages" / "data.jsonl").read_text().splitlines()
    ]
    assert sorted(weights) == [[0, 1], [1], [1], [1]], "every row has the key: Arrow needs rows of one kind"
    for folder in ("messages", "llava", "sharegpt", "swift"):
        if folder != "messages":
            export_selection(run, 0, folder, tmp_path / folder)
        (back,) = [sample for sample in read(tmp_path / folder) if sample.id.endswith("talk")]
        assert back.unlearnt == (1,)
    with_flags = Llava.render
    monkeypatch.setattr(Llava, "render", lambda *args: with_flags(args[0], replace(args[1], unlearnt=()), args[2]))
    code, out, _ = call("export", run.folder, "--step", "0", "--format", "llava", "--out", tmp_path / "lost")
    assert code == 0 and "warning: 1 sample with turns that are not learnt; llava cannot say so" in out


def test_copies_are_made_once_for_each_content_and_move_with_the_folder(run, tmp_path):
    export_selection(run, 1, "messages", tmp_path / "out", images="copy")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    back = list(read(tmp_path / "moved" / "data.jsonl"))
    used = {path for sample in back for path in sample.images}
    assert len(used) == len(list((tmp_path / "moved" / "images").iterdir())) <= 4
    assert all(path.parent == tmp_path / "moved" / "images" for path in used)


def test_scores_and_manifest_say_where_it_comes_from(run, tmp_path):
    manifest = export_selection(run, 1, "llava", tmp_path / "out", images="copy").manifest
    saved = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert saved.pop("checksum").startswith("xxh3_64:")
    assert saved == json.loads(tables.as_json_text(manifest))
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet").set_index("id")
    measured = pd.DataFrame(table(run, 1, "features/scores.parquet")).set_index("id")
    selected = pd.DataFrame(table(run, 1, "selection/selection.parquet")).set_index("id")
    pd.testing.assert_frame_equal(scores[measured.columns], measured.loc[scores.index], check_index_type=False)
    pd.testing.assert_frame_equal(scores[selected.columns], selected, check_index_type=False)
    assert manifest["seeds"] == {"run": 3, "selection": run.seed("selection", 1)}
    assert (manifest["step"], manifest["dataset"], manifest["method"]) == (1, "two", "adapt")
    info = tables.read_json(run.stage_folder(1, Features) / "info.json")
    assert manifest["measured_by"] == info["fingerprint"]
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    del files["manifest.json"]
    assert manifest["files"] == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())
    }


def test_the_same_export_has_the_same_bytes(run, tmp_path):
    first, second = (export_selection(run, 0, "messages", tmp_path / name, images="copy") for name in "ab")
    assert first.manifest["files"] == second.manifest["files"]


def test_samples_of_withdrawn_datasets_are_left_out_and_counted(tmp_path):
    run = made(tmp_path, {"one": rows(6), "two": rows(6, word="item")}, method="random_replay")
    before = table(run, 1, "selection/selection.parquet")["id"].tolist()
    amending.withdraw(run, "one")
    manifest = export_selection(run, 1, "messages", tmp_path / "out").manifest
    left = [id for id in before if id.startswith("two/")]
    assert (tmp_path / "out" / "ids.txt").read_text().split() == left
    assert manifest["left_out"] == {"withdrawn": len(before) - len(left)} and 0 < len(left) < len(before)
    # Nothing was measured by random_replay: the reasons are all there is.
    assert set(pd.read_parquet(tmp_path / "out" / "scores.parquet")) == {
        "id", "cluster", "scorer", "score", "bin", "rank",
    }  # fmt: skip


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(run, tmp_path):
    (tmp_path / "there").mkdir()
    for step, format, out, pattern in (
        (2, "messages", "new", "no selection of step 2; finished selections: steps 0 to 1"),
        (0, "lava", "new", "did you mean 'llava'"),
        (0, "messages", "there", "there already exists"),
    ):
        with pytest.raises(ConfigError, match=pattern):
            export_selection(run, step, format, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_command_writes_beside_the_run_unless_told_otherwise(run, call):
    words = ("export", run.folder)
    code, out, _ = call(*words, "--step", "0", "--quiet")
    assert code == 0 and out.startswith(f"wrote {run.folder / 'exports' / '00-messages'}: 10 samples (one 10), 4 ")
    code, _, err = call(*words, "--step", "0", "--quiet")
    assert code == 2 and "already exists" in err
    code, out, err = call(*words, "--step", "1", "--format", "llava", "--json")
    assert code == 0 and json.loads(out)["format"] == "llava" and err == ""
    assert call(*words, "--step", "0", "--images", "move")[0] == 2
    assert call(*words)[0] == 2


TRAIN = """
import json, sys
import torch
from datasets import Image, List, load_dataset
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from trl import SFTConfig, SFTTrainer

torch.set_num_threads(1)
torch.manual_seed(0)
scratch = sys.argv[1]
for data, model in json.loads(sys.argv[2]):
    rows = load_dataset("json", data_files=data, split="train", cache_dir=scratch + "/cache")
    print(len(rows), *sorted(rows.column_names))
    if "images" in rows.column_names:
        rows = rows.cast_column("images", List(Image()))
        learner, processor = AutoModelForImageTextToText.from_pretrained(model), AutoProcessor.from_pretrained(model)
    else:
        learner, processor = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    before = {name: weight.clone() for name, weight in learner.named_parameters()}
    config = SFTConfig(
        output_dir=scratch + "/out", max_steps=1, per_device_train_batch_size=len(rows), learning_rate=1e-2,
        warmup_steps=0, use_cpu=True, bf16=False, report_to="none", save_strategy="no", max_length=None,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(model=learner, args=config, train_dataset=rows, processing_class=processor)
    result = trainer.train()
    moved = sum(not torch.equal(weight, before[name]) for name, weight in learner.named_parameters())
    print("trained", result.global_step, torch.isfinite(torch.tensor(result.training_loss)).item(), moved > 0)
"""


def test_exported_subsets_take_a_step_in_trl_with_images_and_without(run, tmp_path):
    """In a process of its own, as TRL changes the libraries that it sits on."""
    export_selection(run, 1, "messages", tmp_path / "mixed")
    back = list(read(tmp_path / "mixed" / "data.jsonl", images="/"))
    assert {len(sample.images) for sample in back} == {0, 1}, "both kinds of rows, in one batch"

    text_model = write_text_model(tmp_path / "model")
    sums = made(tmp_path, {"sums": rows(12, images=False)}, method="random_replay", model={"path": str(text_model)})
    export_selection(sums, 0, "messages", tmp_path / "texts")
    first = json.loads((tmp_path / "texts" / "data.jsonl").read_text().splitlines()[0])
    assert isinstance(first["messages"][0]["content"], str), "templates of text-only models take texts, not blocks"

    jobs = [(tmp_path / "mixed" / "data.jsonl", BASE_PATH), (tmp_path / "texts" / "data.jsonl", text_model)]
    words = [sys.executable, "-c", TRAIN, str(tmp_path), json.dumps([list(map(str, job)) for job in jobs])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not line.startswith("{")] == [
        "10 id images messages skill",
        "trained 1 True True",
        "10 id messages skill",
        "trained 1 True True",
    ]


def test_a_llava_export_loads_in_datasets(run, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    export_selection(run, 1, "llava", tmp_path / "out")
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out" / "data.json"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded["id"][:] == (tmp_path / "out" / "ids.txt").read_text().split()
    assert set(loaded.column_names) == {"id", "image", "conversations", "skill"}


def test_a_sharegpt_export_is_a_folder_of_llama_factory(run, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    out = tmp_path / "out"
    export_selection(run, 1, "sharegpt", out, images="copy")
    (entry,) = json.loads((out / "dataset_info.json").read_text()).values()
    loaded = datasets.load_dataset(
        "json", data_files=str(out / entry["file_name"]), split="train", cache_dir=str(tmp_path / "cache")
    )
    columns, tags = entry["columns"], entry["tags"]
    assert entry["formatting"] == "sharegpt" and set(columns) == {"messages", "images"}
    known = {tags["user_tag"], tags["assistant_tag"], tags["system_tag"]}
    for row in loaded:
        turns, images = row[columns["messages"]], row[columns["images"]]
        assert {turn[tags["role_tag"]] for turn in turns} <= known
        assert sum(turn[tags["content_tag"]].count("<image>") for turn in turns) == len(images)
        assert all((out / image).is_file() for image in images)
    back = list(read(out))
    (out / "manifest.json").unlink()
    assert list(read(out, source="data")) == back, "as a folder of LLaMA-Factory too"


def test_a_swift_export_has_rows_of_one_kind(run, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    export_selection(run, 1, "swift", tmp_path / "out")
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out" / "data.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert set(loaded.column_names) == {"id", "messages", "images", "skill"}
    assert {len(images) for images in loaded["images"]} == {0, 1}


def test_a_format_that_is_only_read_is_no_export(run, call, tmp_path):
    code, _, err = call("export", run.folder, "--step", "1", "--format", "m3it", "--out", tmp_path / "out")
    assert code == 2 and "format 'm3it' is only read; formats that are written: llava, messages, sharegpt, swift" in err


def test_ids_of_an_older_pool_that_are_no_line_are_written_so_that_they_can_be_read_back():
    ids = ["d/a\nb", "d/a\\nb", "d/c", "d/a\nd/c", "d/\u2028x", "d/\x1b[31m", 'd/"quoted"', "d/zero\u200bwidth"]
    lines = "".join(f"{as_line(id)}\n" for id in ids).splitlines()
    assert [json.loads(line) if line.startswith('"') else line for line in lines] == ids
    assert lines[1:3] == ids[1:3], "an id that is a line is written as it is"


def test_blanks_around_an_id_are_its_own_where_the_pool_has_it_so():
    known = {"d/a ", "d/b", "d/c\n"}
    assert ids_of_lines(["d/a ", " d/b\r", "", "  ", '"d/c\\n"', "d/e "], known) == ["d/a ", "d/b", "d/c\n", "d/e"]
