"""The example of the paper's six datasets: each is read by its own entry, from files as they are published."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adaptinf import config
from adaptinf.config import DatasetConfig
from adaptinf.data import Sample
from adaptinf.formats import read
from adaptinf.sources import chosen_source

EXAMPLE = Path(__file__).parents[2] / "examples" / "paper_stream.yaml"
NAMES = ("llava665k", "m3it", "minigpt4", "mantis", "lamm", "visionflan")


def png(size: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), "red").save(file, "PNG")
    return file.getvalue()


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def saved(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetConfig]:
    """The entries of the example, with rows of our own making under the paths that they name."""
    folder = tmp_path_factory.mktemp("paper").resolve()
    data = folder / "data"
    for name in ("llava/images/coco/train2017/1.jpg", "cc_sbu_align/image/2.jpg", "mantis/images/a.jpg"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(png(4))
    for name in ("lamm/images/coco_images/1.jpg", "visionflan/images/1.jpg"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(png(4))
    saved(
        data / "llava" / "llava_v1_5_mix665k.json",
        [
            {
                "id": "000000000001",
                "image": "coco/train2017/1.jpg",
                "conversations": turns("<image>\nQ", "A", "Q2", "A2"),
            },
            {"id": "wgByO4Y_0", "model": "", "conversations": turns("Q", "A")},
        ],
    )
    encoded = base64.b64encode(png(5)).decode()
    asked = {"instruction": "Look.", "inputs": "Q", "outputs": "A"}
    (data / "m3it").mkdir()
    (data / "m3it" / "vqa.jsonl").write_text(
        json.dumps({**asked, "image_base64_str": [encoded]})
        + "\n"
        + json.dumps({**asked, "inputs": "", "image_base64_str": [encoded, encoded]})
    )
    saved(data / "cc_sbu_align" / "filter_cap.json", {"annotations": [{"image_id": "2", "caption": "A."}]})
    for part in ("multi_vqa", "nlvr2"):
        said = [{"content": "<image> <image> Q", "role": "user"}, {"content": "A", "role": "assistant"}]
        images = [{"bytes": png(6), "path": "x.jpg"}, {"bytes": None, "path": "a.jpg"}]
        table = pa.Table.from_pylist([{"id": part, "images": images, "conversation": said, "source": part}])
        (data / "mantis" / part).mkdir()
        pq.write_table(table, data / "mantis" / part / "train-00000-of-00001.parquet")
    saved(
        data / "lamm" / "LAMM_instruct_186k.json",
        [
            {
                "id": "1",
                "image": "coco_images/1.jpg",
                "conversations": turns("Q", "A"),
                "task_type": "detail",
                "src_image": "coco2017",
            }
        ],
    )
    saved(
        data / "visionflan" / "annotation_191-task_1k.json",
        [{"id": "1", "image": "1.jpg", "task_name": "T", "conversations": turns("Q\n<image>", "A")}],
    )
    (folder / "stream.yaml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    loaded = config.load(folder / "stream.yaml")
    return {dataset.name: dataset for dataset in loaded.stream}


def test_the_example_lists_the_six_datasets_in_the_papers_order(stream: dict[str, DatasetConfig]) -> None:
    assert tuple(stream) == NAMES


@pytest.mark.parametrize(
    ("name", "conversations"),
    [
        ("llava665k", [["<image> Q", "A", "Q2", "A2"], ["Q", "A"]]),
        ("m3it", [["<image> Look.\nQ", "A"], ["<image> <image> Look.", "A"]]),
        ("minigpt4", [[None, "A."]]),
        ("mantis", [["<image>   <image>  Q", "A"]] * 2),
        ("lamm", [["<image> Q", "A"]]),
        ("visionflan", [["Q <image>", "A"]]),
    ],
)
@pytest.mark.parametrize("is_named", [True, False])
def test_each_dataset_is_read_as_it_is_published(
    stream: dict[str, DatasetConfig], name: str, conversations: list[list[str | None]], is_named: bool
) -> None:
    dataset = stream[name]
    format = dataset.format if is_named else None
    found = list(read(chosen_source(dataset, seed=0), format, dataset.images, source=name))
    samples = [row for row in found if isinstance(row, Sample)]
    assert len(samples) == len(found)
    texts = [[text for _, text in sample.turns] for sample in samples]
    assert [
        [text for text, wanted in zip(own, expected, strict=True) if wanted is not None]
        for own, expected in zip(texts, conversations, strict=True)
    ] == [[text for text in expected if text is not None] for expected in conversations]
    assert [len(sample.images) for sample in samples] == ["".join(own).count("<image>") for own in texts]
    assert all(bool(sample.notes) == (name == "minigpt4") for sample in samples)
