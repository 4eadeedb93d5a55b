"""One sample that the model fails on is found in its batch, recorded, and changes nothing of the others."""

from __future__ import annotations

import numpy as np
import pytest

from adaptinf.config import ExtractionConfig
from adaptinf.data import Features
from adaptinf.errors import ModelError
from adaptinf.extraction import extract
from adaptinf.extraction.meter import Meter
from tests.helpers.conversations import conversation, say

SETTINGS = ExtractionConfig(dim=32, vector="hidden", image="unmeasured", batch_tokens=400)


def sums(count):
    return [
        conversation(f"{n:02d}", say("user", f"What is {n} + {n}?"), say("assistant", str(2 * n))) for n in range(count)
    ]


def failing_on(names, monkeypatch):
    real = Meter.measure

    def measure(self, prepared):
        if set(prepared.ids) & names:
            raise IndexError("index out of range in self")
        return real(self, prepared)

    monkeypatch.setattr(Meter, "measure", measure)


def test_it_is_unscored_named_and_saved_with_its_reason(learner, tmp_path, monkeypatch):
    samples = sums(12)
    whole = extract(samples, learner, SETTINGS, out=tmp_path / "whole")
    failing_on({"test/05"}, monkeypatch)
    found = extract(samples, learner, SETTINGS, out=tmp_path / "found")
    assert found.unusable == {"test/05": "the model fails on it: index out of range in self"}
    assert found.info["refused"] == found.info["unscored"] == 1
    assert not found.vectors[5].any() and np.isnan(found.scores["perplexity"][5])
    others = np.arange(12) != 5
    assert np.allclose(found.vectors[others].astype(float), whole.vectors[others].astype(float), atol=2e-3)
    assert Features.load(tmp_path / "found").unusable == found.unusable


def test_too_many_stop_the_extraction_with_a_summary(learner, tmp_path, monkeypatch):
    failing_on({f"test/{n:02d}" for n in range(4)}, monkeypatch)
    with pytest.raises(ModelError, match=r"extraction: \d+ of 12 samples cannot be used .*index out of range in self"):
        extract(sums(12), learner, SETTINGS, out=tmp_path)
