"""Memory does not grow with the pool."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from adaptinf.data import Sample
from benchmarks.measuring import Work, measure
from tests.helpers.conversations import conversation, say
from tests.helpers.families import write_llava


class OnDisk(Sequence):
    """Samples that exist only while somebody looks at them, as a pool's do."""

    def __init__(self, count: int, image: Path) -> None:
        self.count, self.image = count, image

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Sample:
        if not 0 <= row < self.count:
            raise IndexError(row)
        question = say("user", *(["<image>"] if row % 4 == 0 else []), "word " * (1 + row % 9))
        images = (self.image,) if row % 4 == 0 else ()
        return conversation(f"{row:06d}", question, say("assistant", "yes"), images=images)


def extracting(model: str, image: str, count: int) -> Work:
    import torch

    from adaptinf.config import ExtractionConfig, ModelConfig
    from adaptinf.extraction import extract
    from adaptinf.models import load

    torch.set_num_threads(2)
    learner = load(ModelConfig(path=model, dtype="float32"))
    samples = OnDisk(count, Path(image))

    def work() -> dict[str, int]:
        features = extract(samples, learner, ExtractionConfig(dim=1024), out=Path(tempfile.mkdtemp()))
        return {"rows": len(features.vectors)}

    return work


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twice_as_many_samples_take_as_much_memory(tmp_path, image_folder):
    """The peak of one run is 25 MB higher or lower by chance, and only settles with tens of thousands of samples.

    So both sides have settled, and both meet as many batches.
    """
    given = {"model": str(write_llava(tmp_path)), "image": str(image_folder / "0.png")}
    few = max((measure(extracting, count=60_000, **given) for _ in range(2)), key=lambda measured: measured.peak_bytes)
    many = measure(extracting, count=120_000, **given)
    assert (few.figures["rows"], many.figures["rows"]) == (60_000, 120_000)
    # Half a kilobyte a sample would be seen; ids and the plan take 150 bytes.
    assert many.peak_bytes <= 1.05 * few.peak_bytes, f"{few.peak_bytes / 1e6:.0f} MB, then {many.peak_bytes / 1e6:.0f}"
