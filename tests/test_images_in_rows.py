"""Images that stand in rows, through a whole run: every reader gets what it gets of the same images as files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptinf import api
from adaptinf import config as configuration
from adaptinf.data import Evaluation, Features, Sample, Selection, Trained
from adaptinf.errors import ConfigError, StoreError
from adaptinf.evaluation.identity import item_digests
from adaptinf.evaluation.skills import read_tests
from adaptinf.formats import read
from adaptinf.images.contents import ImageContent
from adaptinf.pipeline import run_all
from adaptinf.pool.image_file import IMAGES_FILE
from adaptinf.pool.image_writing import batches_of
from adaptinf.pool.stored import stored_datasets
from adaptinf.runs import Run, stream
from adaptinf.runs.relocate import missing_images
from adaptinf.selection import select
from adaptinf.storage import tables
from tests.helpers.run_folders import content
from tests.helpers.streams import in_rows, rows, write_dataset, write_images, write_stream, write_test

NUM_COLOURS = 2
"""Different images of eight rows."""


def stream_of(folder: Path, *, held: bool, **changes: Any) -> Path:
    """Write a stream of one dataset and one test, with images in files or in the rows."""
    write_images(folder / "images")
    content = rows(8)
    items = rows(6, word="item")[::2]
    if held:
        content, items = (in_rows(folder / "images", part) for part in (content, items))
    dataset, test = write_dataset(folder, "one", content), write_test(folder, "colours", items)
    if held:
        del dataset["images"], test["images"]
    return write_stream(folder / "stream.yaml", [dataset], [test], **changes)


def joined(folder: Path, **changes: Any) -> Run:
    """Return a run whose only dataset, with images in its rows, has joined."""
    run = Run.create(folder / "run", configuration.load(stream_of(folder, held=True, **changes)))
    stream.join(run, 0)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Run]:
    """Return two runs of one step: `files`, and `rows` with the same images in the rows."""
    found = {}
    for name in ("files", "rows"):
        folder = tmp_path_factory.mktemp(name)
        found[name] = Run.create(folder / "run", configuration.load(stream_of(folder, held=name == "rows")))
        run_all(found[name], num_steps=1)
    return found


def test_the_pool_keeps_each_content_once(tmp_path: Path) -> None:
    run = joined(tmp_path)
    (dataset,) = stored_datasets(run.pool_folder)
    assert sum(batch.num_rows for batch in batches_of(dataset.folder / IMAGES_FILE)) == NUM_COLOURS
    samples = [dataset.sample(row) for row in range(8)]
    found = [image for sample in samples for image in sample.images]
    assert len(found) == 4 and len(set(found)) == NUM_COLOURS
    wanted = [(tmp_path / "images" / f"{name}.png").read_bytes() for name in ("red", "blue", "red", "blue")]
    assert [image.read() for image in found if isinstance(image, ImageContent)] == wanted
    info = json.loads((dataset.folder / "info.json").read_text())
    assert info["rejected"] == 0 and info["bytes_of_pictures"] == sum(map(len, set(wanted)))


def test_the_same_rows_give_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = (content(joined(tmp_path / name).dataset_folder(0)) for name in ("a", "b"))
    for files in (one, other):
        del files["info.json"]  # which names the file that was read
    assert one == other and IMAGES_FILE in one


def test_extraction_and_training_get_the_same_images(runs: dict[str, Run]) -> None:
    files, held = (run.load(0, Features) for run in runs.values())
    assert files is not None and held is not None
    assert (files.ids == held.ids).all() and not held.info.get("rejected")
    np.testing.assert_array_equal(np.asarray(files.vectors), np.asarray(held.vectors))
    for name, column in files.scores.items():
        np.testing.assert_array_equal(column, held.scores[name])
    weights = [run.stage_folder(0, Trained) / "model.safetensors" for run in runs.values()]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    info = json.loads((weights[1].parent / "info.json").read_text())
    assert info["unreadable"] == [] and info["samples"] == 8


def test_evaluation_asks_the_same_items(runs: dict[str, Run]) -> None:
    files, held = (run.load(0, Evaluation) for run in runs.values())
    assert files is not None and held is not None
    np.testing.assert_array_equal(files.matrix, held.matrix)
    for name in ("id", "prediction", "item"):
        assert list(files.predictions[name]) == list(held.predictions[name])


def test_the_report_shows_the_images_and_explain_names_their_place(runs: dict[str, Run]) -> None:
    pages = [api.report(run.folder).path.read_text() for run in runs.values()]
    assert [page.count("data:image/jpeg;base64,") for page in pages] == [NUM_COLOURS] * 2
    assert "missing or damaged" not in pages[1]
    (place,) = api.explain(runs["rows"].folder, "one/000").images
    digest = ImageContent.of((runs["rows"].folder.parent / "images/red.png").read_bytes()).digest
    assert place == f"{runs['rows'].dataset_folder(0)}/images.arrow#{digest}.png"


def bytes_of(image: Path | ImageContent) -> bytes:
    return image.read_bytes() if isinstance(image, Path) else image.read()


@pytest.mark.parametrize("images", [None, "copy", "embed"])
@pytest.mark.parametrize("format", ["llava", "messages", "sharegpt", "swift"])
@pytest.mark.parametrize("kind", ["files", "rows"])
def test_an_export_reads_back_without_any_option(
    runs: dict[str, Run], tmp_path: Path, kind: str, format: str, images: Any
) -> None:
    run = runs[kind]
    exported = api.export(run.folder, step=0, format=format, out=tmp_path / "out", images=images)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    original = {sample.id: sample for sample in run.pool(0).view(run.pool(0).ids)}
    found = [row for row in read(tmp_path / "moved") if isinstance(row, Sample)]
    assert len(found) == exported.num_samples == 8
    for sample in found:
        before = original[sample.id.partition("/")[2]]
        assert sample.messages == before.messages
        assert list(map(bytes_of, sample.images)) == list(map(bytes_of, before.images))
    assert exported.manifest["images"] == (images or ("reference" if kind == "files" else "copy"))
    num_files = len(list((tmp_path / "moved").glob("images/*")))
    assert num_files == (NUM_COLOURS if exported.manifest["images"] == "copy" else 0)


def test_images_that_are_in_the_pool_only_have_no_path(runs: dict[str, Run], tmp_path: Path, call: Any) -> None:
    code, _, err = call("export", runs["rows"].folder, "--step", 0, "--images", "reference", "--out", tmp_path / "out")
    assert code == 2 and "one/00" in err and "has an image that is in the pool only, no path leads to it" in err
    assert not (tmp_path / "out").exists()


def test_an_export_of_ids_holds_these_samples(runs: dict[str, Run], tmp_path: Path, call: Any) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("one/005\n\none/000\none/005\n")
    words = ("export", runs["rows"].folder, "--step", "0", "--ids", ids, "--out", tmp_path / "out")
    code, out, err = call(*words)
    assert code == 0 and "2 samples (one 2)" in out, err
    found = [row for row in read(tmp_path / "out") if isinstance(row, Sample)]
    assert [sample.id for sample in found] == ["data/one/005", "data/one/000"]
    assert (tmp_path / "out" / "ids.txt").read_text() == "one/005\none/000\n"
    scores = tables.read_table(tmp_path / "out" / "scores.parquet")
    assert list(scores["id"]) == ["one/005", "one/000"] and np.isfinite(scores["perplexity"]).all()
    for text, expected in (
        ("one/005\none/9999\none/zero\n", "2 ids not in the pool of step 0: 'one/9999', 'one/zero'"),
        ("one/5\n", "1 id not in the pool of step 0: 'one/5'; did you mean 'one/005' or "),
        ("\n", "has no ids; write one per line"),
    ):
        ids.write_text(text)
        code, _, err = call(*words[:-1], tmp_path / "none")
        assert code == 2 and expected in err, err
    code, _, err = call(*words[:-3], tmp_path / "gone.txt", "--out", tmp_path / "none")
    assert code == 2 and "gone.txt does not exist" in err
    assert not (tmp_path / "none").exists()


def test_items_are_told_apart_by_their_images(tmp_path: Path) -> None:
    config = configuration.load(stream_of(tmp_path, held=True))
    (before,) = read_tests(config.evaluation)
    path = Path(config.evaluation[0].path)
    other = in_rows(tmp_path / "images", [{**json.loads(path.read_text())[0], "image": "green.png"}])
    path.write_text(json.dumps([*other, *json.loads(path.read_text())[1:]]))
    (after,) = read_tests(config.evaluation)
    digests = [item_digests(test) for test in (before, after)]
    assert [id for id in digests[0] if digests[0][id] != digests[1][id]] == ["colours/000"]


def test_inspect_shows_an_image_that_stands_in_the_row(tmp_path: Path, call: Any) -> None:
    stream_of(tmp_path, held=True)
    digest = ImageContent.of((tmp_path / "images/red.png").read_bytes()).digest
    code, out, err = call("inspect", tmp_path / "one.json", "--row", "0")
    assert code == 0 and f"in the row: {digest}.png, 64 x 64 pixels" in out, err
    call("inspect", tmp_path / "one.json", "--row", "0", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"in the row: {digest}.png" in page and page.count("data:image/jpeg;base64,") == 1
    code, out, _ = call("inspect", tmp_path / "one.json", "--row", "0", "--json")
    assert json.loads(out)["images"] == [{"path": None, "sha256": digest, "width": 64, "height": 64}]
    held = json.loads((tmp_path / "one.json").read_text())
    held[0]["image"]["bytes"] = held[0]["image"]["bytes"][:100]
    (tmp_path / "one.json").write_text(json.dumps(held))
    code, out, _ = call("inspect", tmp_path / "one.json", "--row", "0")
    assert "rejected" in out and "image in the row (" in out and "cannot be decoded" in out


def test_images_in_the_pool_never_move(tmp_path: Path) -> None:
    run = joined(tmp_path)
    assert missing_images(run) == []
    with pytest.raises(ConfigError, match="it holds no paths of images"):
        api.relocate(run.folder, tmp_path / "images", tmp_path / "elsewhere")


def test_a_flipped_bit_is_found_by_verify_and_by_every_reader(tmp_path: Path) -> None:
    run = joined(tmp_path)
    path = run.dataset_folder(0) / IMAGES_FILE
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"\x89PNG") + 40] ^= 1
    path.write_bytes(damaged)
    assert [damage.path for damage in api.verify(run.folder).damaged] == [path]
    sample = stored_datasets(run.pool_folder)[0].sample(0)
    with pytest.raises(StoreError, match=r"images.arrow is damaged: [0-9a-f]{64}"):
        sample.stored_images[0].open()


def test_a_dataset_with_copies_keeps_images_of_rows_apart(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    mixed = rows(4)
    mixed[2:] = in_rows(tmp_path / "images", rows(4))[2:]
    dataset = write_dataset(tmp_path, "one", mixed)
    run = Run.create(
        tmp_path / "run", configuration.load(write_stream(tmp_path / "s.yaml", [dataset], data={"images": "copy"}))
    )
    info = stream.join(run, 0)
    (stored,) = stored_datasets(run.pool_folder)
    first, second = (stored.sample(row).images[0] for row in (0, 2))
    assert isinstance(first, Path) and first.parent == stored.folder / "images"
    assert isinstance(second, ImageContent) and info["bytes_of_pictures"] == len(second.read()) + first.stat().st_size


def two_folders(folder: Path) -> tuple[Path, Path]:
    """Write a dataset whose images are in two folders, one of them below another name."""
    write_images(folder / "first")
    (folder / "second").mkdir()
    (folder / "first" / "blue.png").rename(folder / "second" / "blue.png")
    content = rows(4)
    content[2]["image"] = str(folder / "second" / "blue.png")
    write_dataset(folder, "one", content)
    shutil.rmtree(folder / "images")
    return folder / "first", folder / "second"


def test_commands_take_several_image_folders(tmp_path: Path, call: Any) -> None:
    roots = two_folders(tmp_path)
    words = ("--images", roots[0], "--images", roots[1])
    code, out, err = call("validate", tmp_path / "one.json", *words, "--quiet")
    assert code == 0 and "4 samples" in out and "rejected" not in out.replace("0 rejected", ""), out + err
    code, out, _ = call("validate", tmp_path / "one.json", *words[:2], "--quiet")
    assert "1 rejected" in out and "is outside of the image folder" in out
    assert "name its folder as well: --images may be repeated" in " ".join(out.split())
    code, out, err = call("inspect", tmp_path / "one.json", "002", *words)
    assert code == 0 and str(roots[1] / "blue.png") in out, err
    (tmp_path / "run").mkdir()
    run = joined(tmp_path / "run")
    code, out, err = call("add", run.folder, tmp_path / "one.json", *words, "--name", "two")
    assert code == 0, err
    assert Run.open(run.folder).config.stream[1].images == list(map(str, roots))
    two = stored_datasets(run.pool_folder)[1]
    assert [two.sample(row).images for row in (0, 2)] == [(roots[0] / "red.png",), (roots[1] / "blue.png",)]


def test_tests_and_exports_take_several_image_folders(tmp_path: Path) -> None:
    roots = two_folders(tmp_path)
    dataset = {"name": "one", "path": str(tmp_path / "one.json"), "images": list(map(str, roots))}
    test = {"skill": "colours", "path": dataset["path"], "images": dataset["images"]}
    path = write_stream(tmp_path / "s.yaml", [dataset], [test], selection={"method": "random_replay", "budget": 4})
    run = Run.create(tmp_path / "run", configuration.load(path))
    stream.join(run, 0)
    assert [item.images for item in read_tests(run.config.evaluation)[0].items][2] == (roots[1] / "blue.png",)
    pool = run.pool(0)
    selection = select(None, None, pool.ids, 4, method="random_replay", arrived=pool.arrived, current_step=0)
    run.once(0, Selection, lambda _: selection)
    run.pin_settings()
    exported = api.export(run.folder, step=0, out=tmp_path / "out")
    assert exported.manifest["roots"] == list(map(str, roots)) and exported.manifest["images"] == "reference"
    found = {sample.id.partition("/")[2]: sample for sample in read(tmp_path / "out")}
    assert found["one/002"].images == (roots[1] / "blue.png",)  # type: ignore[union-attr]
