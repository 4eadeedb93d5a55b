"""Where image files may lie, and one-line refusals of images and layouts that are not read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adaptinf.data import Rejected, Sample
from adaptinf.errors import DataError
from adaptinf.formats import read
from adaptinf.formats.image_files import ImageFolders, named_folders

LONGEST = 200
"""Characters of a refusal."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `data` with the image a.png, and an image beside the folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (folder / "a.png", tmp_path / "x.png"):
        Image.new("RGB", (8, 6), "red").save(path)
    return folder


def row(image: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    return {"image": image, "conversations": turns}


def one(folder: Path, image: Any, images: Path | None = None) -> Sample | Rejected:
    (folder / "toy.json").write_text(json.dumps([row(image)]))
    (found,) = read(folder / "toy.json", images=images)
    return found


def image_of(found: Sample | Rejected) -> Path:
    assert isinstance(found, Sample), found
    (image,) = found.images
    assert isinstance(image, Path)
    return image


def test_a_link_inside_the_folder_is_followed_wherever_it_leads(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "x.png")
    (folder / "more").symlink_to(folder.parent)
    assert image_of(one(folder, "link.png")) == folder.resolve() / "link.png"
    assert image_of(one(folder, "more/x.png")) == folder.resolve() / "more" / "x.png"
    assert image_of(one(folder, str(folder / "link.png"))).name == "link.png"


@pytest.mark.parametrize("image", ["../x.png", "more/../../x.png", "a.png/../../x.png"])
def test_two_dots_do_not_leave_the_folder(folder: Path, image: str) -> None:
    (folder / "more").symlink_to(folder.parent)
    found = one(folder, image)
    assert isinstance(found, Rejected) and "is outside of the image folder" in found.reason


def test_an_absolute_path_may_use_either_name_of_a_linked_folder(folder: Path) -> None:
    (folder.parent / "alias").symlink_to(folder)
    alias = folder.parent / "alias"
    for image in (alias / "a.png", folder / "a.png", Path(os.path.relpath(folder / "a.png", folder))):
        assert image_of(one(folder, str(image), images=alias)) == folder.resolve() / "a.png"
    assert isinstance(one(folder, str(folder.parent / "x.png"), images=alias), Rejected)


def test_the_manifest_of_an_export_names_further_folders(folder: Path) -> None:
    outside = str(folder.parent / "x.png")
    assert isinstance(one(folder, outside), Rejected)
    for content in ("", "[]", '{"roots": 3}', '{"roots": ["relative"]}', json.dumps({"roots": [str(folder)]})):
        (folder / "manifest.json").write_text(content)
        assert isinstance(one(folder, outside), Rejected)
    (folder / "manifest.json").write_text(json.dumps({"roots": [str(folder.parent)]}))
    assert image_of(one(folder, outside)).name == "x.png"


def test_a_folder_with_a_manifest_stands_for_its_data_file(folder: Path) -> None:
    one(folder, "a.png")
    (folder / "toy.json").rename(folder / "data.json")
    with pytest.raises(DataError, match="manifest.json that names no data file; name the file"):
        (folder / "manifest.json").write_text("{}")
        list(read(folder))
    (folder / "manifest.json").write_text(json.dumps({"files": {"data.json": "", "ids.txt": ""}}))
    assert len(list(read(folder))) == 1


def test_an_object_of_images_that_are_not_under_tags_is_refused_with_its_keys(folder: Path) -> None:
    found = one(folder, {"left": "a.png", "right": "a.png"})
    assert isinstance(found, Rejected) and len(found.reason) <= LONGEST
    assert "keys left, right" in found.reason and "expected a path" in found.reason


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            [{"id": "0", "dialogue": [{"speaker": "user", "words": "?"}]}],
            "first row has id, dialogue: [{speaker, words}]; set columns: {question: ..., answer: ...}; known",
        ),
        ({"data": 3}, "must hold a list ([...]), or an object with one list of rows"),
        ([{"x" * 1_000_000: 1}], "has no known format"),
    ],
)
def test_another_layout_is_refused_in_one_line_that_names_it(folder: Path, content: Any, expected: str) -> None:
    (folder / "toy.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        list(read(folder / "toy.json"))
    assert expected in str(error.value)
    assert len(str(error.value).replace(str(folder), "")) <= LONGEST and "\n" not in str(error.value)


def two_roots(folder: Path) -> tuple[Path, Path]:
    """Return two folders beside `folder`, with an image of their own, one in both, and one that differs."""
    roots = (folder.parent / "coco", folder.parent / "vg")
    for number, root in enumerate(roots):
        (root / "deep").mkdir(parents=True)
        Image.new("RGB", (8, 6), "blue").save(root / f"own{number}.png")
        Image.new("RGB", (8, 6), "blue").save(root / "same.png")
        Image.new("RGB", (8 + number, 6), "blue").save(root / "deep" / "other.png")
    return roots


def test_several_image_folders_are_tried_one_after_another(folder: Path) -> None:
    coco, vg = two_roots(folder)
    for images in ((coco, vg), [str(coco), vg]):
        (folder / "toy.json").write_text(json.dumps([row("own0.png"), row("own1.png"), row("same.png")]))
        found = [image_of(item) for item in read(folder / "toy.json", images=images)]
        assert found == [coco / "own0.png", vg / "own1.png", coco / "same.png"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("deep/other.png", "is two different files, in "),
        ("a.png", "is missing in all of the 2 image folders"),
        ("../data/a.png", "is outside of the image folders "),
        ("deep/../../x.png", "is outside of the image folders "),
    ],
)
def test_what_no_folder_or_more_than_one_has_is_named(folder: Path, image: str, expected: str) -> None:
    roots = two_roots(folder)
    (folder / "toy.json").write_text(json.dumps([row(image)]))
    (found,) = read(folder / "toy.json", images=roots)
    assert isinstance(found, Rejected) and expected in found.reason and len(found.reason) <= LONGEST, found


def test_an_absolute_path_may_lie_in_any_of_the_named_folders(folder: Path) -> None:
    roots = two_roots(folder)
    (roots[1] / "link.png").symlink_to(folder / "a.png")
    inside = [roots[0] / "own0.png", roots[1] / "link.png", roots[1] / "deep" / ".." / "own1.png"]
    (folder / "toy.json").write_text(json.dumps([row(str(path)) for path in inside]))
    found = [image_of(item) for item in read(folder / "toy.json", images=roots)]
    assert found == [roots[0] / "own0.png", roots[1] / "link.png", roots[1] / "own1.png"]
    for outside in (folder / "a.png", roots[1] / ".." / "x.png"):
        (folder / "toy.json").write_text(json.dumps([row(str(outside))]))
        (item,) = read(folder / "toy.json", images=roots)
        assert isinstance(item, Rejected) and "is outside of the image folders" in item.reason


def test_a_file_url_is_an_absolute_path(folder: Path) -> None:
    Image.new("RGB", (8, 6)).save(folder / "a b.png")
    assert image_of(one(folder, (folder / "a b.png").as_uri())) == folder / "a b.png"
    found = one(folder, (folder.parent / "x.png").as_uri())
    assert isinstance(found, Rejected) and "is outside of the image folder" in found.reason


def test_every_named_folder_must_be_one(folder: Path) -> None:
    one(folder, "a.png")
    with pytest.raises(DataError, match="image folder .*gone does not exist"):
        read(folder / "toy.json", images=[folder, folder / "gone"])


def test_a_path_beside_a_remote_file_needs_a_named_folder() -> None:
    problem = ImageFolders(named_folders(None, None)).find("a.png").problem
    assert problem == "image 'a.png' cannot be found beside a remote file; name a local folder with images"


@pytest.mark.parametrize("image", ["x" * 1_000_000, "/" + "y/" * 500_000, "\0" * 5000])
def test_a_message_never_prints_more_than_a_short_part_of_a_value(folder: Path, image: str) -> None:
    found = one(folder, image)
    assert isinstance(found, Rejected) and len(found.reason) <= LONGEST, found.reason[:300]
