"""The page against the run folder: every number on it is one of the folder's tables."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from adaptinf import config as configuration
from adaptinf.data import Features
from adaptinf.errors import ConfigError, StoreError
from adaptinf.pipeline import run_all
from adaptinf.report import write_report
from adaptinf.runs import Run
from adaptinf.storage import tables
from tests.helpers.hostile_runs import BOLD, FORMULA, HOSTILE, IMAGE, SCRIPT, reconfigure
from tests.helpers.report_page import Page
from tests.helpers.run_folders import unseal
from tests.helpers.streams import rows, write_dataset, write_stream, write_test


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """Adapt beside random replay."""
    return Page(write_report(list(runs.values()), tmp_path_factory.mktemp("out") / "deep" / "report.html"))


def write(folder, *, out):
    return Page(write_report([folder], out / "one.html"))


def table(folder, *place):
    return tables.read_table(folder.joinpath("steps", *place))


def test_the_page_is_one_file_that_asks_for_nothing(page, runs, tmp_path):
    path = write_report(list(runs.values()), tmp_path / "report.html")
    assert path == tmp_path / "report.html" and path.stat().st_size < 12e6
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert links and all(link.startswith("#") for link in links)
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_the_policy_lists_exactly_the_two_scripts(page):
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    scripts = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert len(scripts) == 2 and len(re.findall(r"sha256-", policy)) == 2
    for text in scripts:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_sections_come_in_the_order_of_the_story(page):
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "section" and "id" in attributes]
    assert ids == [
        "table", "skills", "answers", "pool", "scorers", "composition", "training", "map", "pairs", "gallery", "cost",
    ]  # fmt: skip
    for question in ("Did the selection help?", "What was forgotten?", "What was selected?", "What was pruned?"):
        assert page.text.index(question) < page.text.index("Table")
    assert page.text.index("What did it cost?") < page.text.index("Table")


def test_the_pool_shrinks_by_what_was_pruned(page, runs):
    for method, folder in runs.items():
        rows = [row for row in page.rows("pool") if row["run"] == method]
        assert [row["arrived"] for row in rows] == [24, 16]
        assert [row["before"] for row in rows] == [24, 16 + 16] and [row["after"] for row in rows] == [16, 16]
        pruned = [len(table(folder, step, "pruning", "pruned.parquet")["id"]) for step in ("00", "01")]
        assert [row["pruned"] for row in rows] == pruned


def test_the_loss_of_each_step_is_that_of_its_log(page, runs):
    for method, folder in runs.items():
        for step in (1, 2):
            path = folder / "steps" / f"{step - 1:02d}" / "model" / "trainer_log.json"
            log = json.loads(path.read_text(encoding="utf-8"))
            rows = [row for row in page.rows("training") if (row["run"], row["step"]) == (method, step)]
            assert [row["loss"] for row in rows] == pytest.approx([record["loss"] for record in log], rel=1e-4)
            assert rows[-1]["share"] == 1 and len(rows) == len(log) > 1


def test_compositions_add_up_to_what_was_chosen(page, runs):
    rows = page.rows("composition")
    for method, folder in runs.items():
        for step in (1, 2):
            selection = table(folder, f"{step - 1:02d}", "selection", "selection.parquet")
            for kind in ("source", "arrived in step", "true skill"):
                own = [row for row in rows if (row["run"], row["step"], row["by"]) == (method, step, kind)]
                assert sum(row["chosen"] for row in own) == len(selection["id"]) == 8
                assert sum(row["pool"] for row in own) == (24, 32)[step - 1]
                assert all(row["chosen"] <= row["pool"] for row in own)
            from_two = sum(id.startswith("two/") for id in selection["id"])
            by_source = {row["name"]: row["chosen"] for row in rows if (row["run"], row["by"]) == (method, "source")
                         and row["step"] == step}  # fmt: skip
            assert by_source.get("two", 0) == from_two


def test_entropies_and_deciders_are_those_of_the_clusters_table(page, runs):
    rows = page.rows("scorers")
    assert {row["run"] for row in rows} == {"adapt"}
    for step in ("00", "01"):
        saved = table(runs["adapt"], step, "selection", "clusters.parquet")
        for number, cluster in enumerate(saved["cluster"]):
            own = {row["scorer"]: row for row in rows if (row["step"], row["cluster"]) == (int(step) + 1, cluster)}
            assert set(own) == {"perplexity", "image_grounding", "el2n", "entropy"}
            for name, row in own.items():
                value = saved[f"entropy_{name}"][number]
                assert row["entropy_bits"] == (None if np.isnan(value) else pytest.approx(value, rel=1e-5))
                assert row["decided"] == (saved["scorer"][number] == name)
                assert (row["size"], row["budget"]) == (saved["size"][number], saved["budget"][number])


def test_histograms_have_the_entropy_that_is_told_of_them(page):
    told = {(row["step"], row["cluster"], row["scorer"]): row["entropy_bits"] for row in page.rows("scorers")}
    checked = 0
    for row in page.rows("histograms"):
        counts = np.array([value for name, value in row.items() if name.startswith("bin_")], dtype=float)
        assert len(counts) == 50
        entropy = told[row["step"], row["cluster"], row["scorer"]]
        if entropy is None:
            continue
        shares = counts[counts > 0] / counts.sum()
        plain = -sum(share * np.log2(share) for share in shares)
        assert plain + (len(shares) - 1) / (2 * counts.sum() * np.log(2)) == pytest.approx(entropy, abs=1e-4)
        checked += 1
    assert checked >= 12


def test_the_skill_matrix_is_the_saved_one(page, runs):
    saved = json.loads((runs["adapt"] / "steps" / "01" / "evaluation" / "matrix.json").read_text())
    rows = [row for row in page.rows("skills") if row["run"] == "adapt"]
    for column, skill in enumerate(saved["skills"]):
        own = [row["accuracy"] for row in rows if row["skill"] == skill]
        assert own == pytest.approx([100 * scores[column] for scores in saved["scores"]], abs=1e-3)
    means = [row["mean"] for row in page.rows("accuracy") if row["run"] == "adapt"]
    assert means == pytest.approx([100 * np.mean(scores) for scores in saved["scores"]], abs=1e-3)


def test_the_map_shows_fates_clusters_and_words_of_the_step(page, runs):
    rows = page.rows("map")
    assigned = table(runs["adapt"], "01", "clusters", "assignments.parquet")
    clusters = dict(zip(assigned["id"], assigned["cluster"], strict=True))
    chosen = set(table(runs["adapt"], "01", "selection", "selection.parquet")["id"])
    pruned = set(table(runs["adapt"], "01", "pruning", "pruned.parquet")["id"])
    assert {row["id"] for row in rows} == set(clusters) and len(rows) == 32
    for row in rows:
        assert row["cluster"] == clusters[row["id"]] and row["step"] == 2
        assert row["fate"].startswith("chosen") == (row["id"] in chosen)
        assert row["fate"].endswith("pruned") == (row["id"] in pruned)
        if row["source"] == "two":
            assert (
                row["answer"] == SCRIPT
                and row["skill"] in (SCRIPT, BOLD)
                and (IMAGE in row["question"] or row["question"] == FORMULA)
            )
        assert (row["images"] != "") == (row["num_images"] == 1)


def test_each_image_is_in_the_page_once(page):
    images = page.data["images"]
    assert len(images) == len(set(images)) == 4
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in images)


def test_near_duplicates_are_rows_of_the_pruned_table_most_similar_first(page, runs):
    rows = page.rows("pairs")
    assert rows and [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    for row in rows:
        saved = table(runs["adapt"], f"{row['step'] - 1:02d}", "pruning", "pruned.parquet")
        place = list(saved["id"]).index(row["pruned_id"])
        assert saved["neighbour"][place] == row["neighbour_id"]
        assert saved["similarity"][place] == pytest.approx(row["similarity"], rel=1e-4)
        assert bool(saved["neighbour_stayed"][place]) == row["neighbour_stayed"]
    per_cluster = [(row["step"], row["cluster"]) for row in rows]
    assert max(per_cluster.count(place) for place in per_cluster) <= 2
    assert "prunes at random" in page.missing("pairs")["random_replay"]


def test_galleries_hold_the_nearest_and_samples_of_each_fate(page, runs):
    assigned = table(runs["adapt"], "01", "clusters", "assignments.parquet")
    chosen = set(table(runs["adapt"], "01", "selection", "selection.parquet")["id"])
    for cluster in set(assigned["cluster"]):
        own = [row for row in page.rows("gallery") if row["cluster"] == cluster]
        distances = np.sort(assigned["distance"][assigned["cluster"] == cluster])
        typical = [row["distance"] for row in own if row["shelf"] == "most typical"]
        assert typical == pytest.approx(distances[: len(typical)].tolist(), rel=1e-4) and len(typical) >= 2
        assert {row["id"] for row in own if row["shelf"] == "chosen"} <= chosen
        assert not {row["id"] for row in own if row["shelf"] == "left out"} & chosen


def test_the_cost_is_that_of_events_and_folders(page, runs):
    rows = [row for row in page.rows("cost") if row["run"] == "adapt"]
    # Where adaptinf[view] is installed, each step has a map as well.
    assert {row["stage"] for row in rows} - {"map"} == {
        "read data",
        "check",
        "extract",
        "cluster",
        "select",
        "train",
        "evaluate",
        "prune",
    }
    trained = next(row for row in rows if row["stage"] == "train" and row["step"] == 2)
    folder = runs["adapt"] / "steps" / "01" / "model"
    assert trained["bytes"] == pytest.approx(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    assert trained["seconds"] > 0 and trained["peak_bytes"] > 1e6


@pytest.mark.usefixtures("renamed_datasets")
def test_markup_from_the_data_stays_text(hostile_runs, tmp_path):
    path = write_report(hostile_runs, tmp_path / "report.html")
    page = Page(path)
    assert not [tag for tag, attributes in page.elements if "onerror" in attributes or tag == "img"]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    # The words are there all the same, in the heat map and in what the script draws.
    assert SCRIPT in page.text
    assert {row["source"] for row in page.rows("map")} == {"one", IMAGE}
    assert all(any(word in str(row) for row in page.rows("gallery")) for word in HOSTILE)
    assert "<script>alert" not in path.read_text() and "<img src=x" not in path.read_text()


@pytest.mark.usefixtures("renamed_datasets")
def test_a_page_holds_no_control_characters_whatever_the_data_hold(hostile_runs, tmp_path):
    text = write_report(hostile_runs, tmp_path / "page.html").read_text(encoding="utf-8")
    without_scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "nul \ufffd, escape \ufffd[31m, cancel \ufffd?" in without_scripts
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\\u00[01]", without_scripts)


def test_a_run_without_tests_still_tells_everything_else(adapt, tmp_path):
    shutil.rmtree(adapt / "base")
    for step in ("00", "01"):
        shutil.rmtree(adapt / "steps" / step / "evaluation")
    reconfigure(adapt, evaluation=[])
    page = write(adapt, out=tmp_path)
    assert "Not measured" in page.text and "No skill is tested" in page.text
    assert page.missing("skills")["adapt"].startswith("No skill is tested")
    assert page.rows("map") and page.rows("pool") and page.rows("composition")


def test_a_stream_of_one_text_only_dataset_has_a_page_without_images(tmp_path):
    data = write_dataset(tmp_path, "texts", rows(12, images=False))
    tests = [write_test(tmp_path, "sums", rows(4, images=False)[1::2])]
    config = configuration.load(write_stream(tmp_path / "s.yaml", [data], tests, clustering={"clusters": 2}))
    run_all(Run.create(tmp_path / "run", config))
    page = write(tmp_path / "run", out=tmp_path)
    assert page.data["images"] == [] and len(page.rows("map")) == 12
    # Grounding is undefined without images: no number, rather than a wrong one, and it decides nowhere.
    grounding = [row for row in page.rows("scorers") if row["scorer"] == "image_grounding"]
    assert grounding and all(row["entropy_bits"] is None and not row["decided"] for row in grounding)
    assert "Not measured yet" in page.text
    assert page.missing("pairs")["adapt"] == "The pool never grew beyond its cap of 16 samples, so nothing was pruned."


def test_vectors_that_were_dropped_are_missed_in_words(adapt, tmp_path):
    for folder in adapt.glob("steps/*/features"):
        Features.drop_arrays(folder)
    page = write(adapt, out=tmp_path)
    assert "vectors of step 2 are no longer on disk" in page.missing("map")["adapt"]
    assert page.rows("gallery") and page.rows("histograms")


def test_an_unfinished_last_step_shows_as_far_as_it_came(adapt, tmp_path):
    for stage in ("pruning", "evaluation", "model"):
        shutil.rmtree(adapt / "steps" / "01" / stage)
    page = write(adapt, out=tmp_path)
    assert "Not all steps are finished: adapt 1 of 2" in page.text
    assert {row["step"] for row in page.rows("composition")} == {1, 2}
    assert [row["step"] for row in page.rows("pool")] == [1]
    assert {row["fate"] for row in page.rows("map")} == {"chosen", "left out"}
    shutil.rmtree(adapt / "steps" / "01")
    assert [row["step"] for row in write(adapt, out=tmp_path).rows("pool")] == [1]


def test_a_run_that_has_done_nothing_yet_has_a_page(adapt, tmp_path):
    for name in ("steps", "base", "pool"):
        shutil.rmtree(adapt / name)
    (adapt / "events.jsonl").unlink()
    page = write(adapt, out=tmp_path)
    assert "Nothing yet" in page.text and "Results of adapt so far" in page.text
    assert set(page.missing("map")) == set(page.missing("pool")) == set(page.missing("cost")) == {"adapt"}


def test_unscored_samples_have_a_cluster_of_their_own_and_no_place_on_the_map(adapt, tmp_path):
    path = adapt / "steps" / "01" / "clusters" / "assignments.parquet"
    unseal(path.parent)
    saved = tables.read_table(path)
    labels, distances = saved["cluster"].copy(), saved["distance"].copy()
    labels[:3], distances[:3] = -1, np.nan
    tables.write_table(path, {"id": saved["id"], "cluster": labels, "distance": distances})
    page = write(adapt, out=tmp_path)
    assert len(page.rows("map")) == 29
    unscored = [row for row in page.rows("gallery") if row["cluster"] == -1]
    assert unscored and not [row for row in unscored if row["shelf"] == "most typical"]


def test_images_that_are_gone_are_counted(adapt, tmp_path, monkeypatch):
    from adaptinf.errors import DataError
    from adaptinf.images import StoredImage

    def gone(image):
        raise DataError(f"image {image.image} is missing")

    monkeypatch.setattr(StoredImage, "open", gone)
    page = write(adapt, out=tmp_path)
    assert page.data["images"] == [] and "4 images are missing or damaged" in page.text


def test_a_dataset_that_is_gone_from_the_pool_is_named(adapt, tmp_path):
    shutil.rmtree(adapt / "pool" / "00-one")
    with pytest.raises(StoreError, match="pool/00-one is missing, and with it the samples that arrived at step 0"):
        write(adapt, out=tmp_path)


def test_the_same_run_gives_the_same_page(runs, tmp_path):
    first, second = (write_report([runs["adapt"]], tmp_path / name) for name in ("a.html", "b.html"))
    dated = r"at \d{4}-\d\d-\d\dT[\d:+]+"
    assert re.sub(dated, "", first.read_text()) == re.sub(dated, "", second.read_text())


def test_a_folder_that_is_no_run_and_no_folder_at_all_are_told(tmp_path):
    with pytest.raises(ConfigError, match="not a run folder"):
        write_report([tmp_path], tmp_path / "report.html")
    with pytest.raises(ConfigError, match="at least one run folder"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(ConfigError, match=r"is a folder; give the file to write, such as \S+/report\.html"):
        write_report([tmp_path], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_loads_no_model(runs, tmp_path):
    code = (
        "import sys; from pathlib import Path; from adaptinf.report import write_report; "
        f"write_report([Path({str(runs['adapt'])!r})], Path({str(tmp_path / 'report.html')!r})); "
        "print(*[name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
