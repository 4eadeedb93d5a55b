"""extract(): the same rows whatever the batches, finished shards are kept, what cannot be measured is recorded."""

from __future__ import annotations

import errno
import json
import resource
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from adaptinf import extraction
from adaptinf.config import ExtractionConfig
from adaptinf.data import Features
from adaptinf.errors import DataError, StoreError
from adaptinf.extraction import cuts, extract, work
from adaptinf.extraction import shards as assembling
from adaptinf.images import StoredImage
from adaptinf.models.adapters import begin_adapter
from adaptinf.progress import Silent
from adaptinf.storage import tables
from tests.helpers.conversations import conversation, say

CONFIG = ExtractionConfig(dim=64, batch_tokens=256)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cuts, "SHARD_SECONDS", 0.0)


@pytest.fixture
def samples(ragged_samples):
    return sorted(ragged_samples, key=lambda sample: sample.id)


def assert_same(first, second, rows=slice(None)):
    """Equal up to float16; rows of `second` may stand in another order."""
    cosines = (first.vectors.astype(np.float32) * second.vectors[rows].astype(np.float32)).sum(1)
    np.testing.assert_allclose(cosines, 1.0, atol=2e-3)
    np.testing.assert_allclose(first.embeddings, second.embeddings[rows], rtol=2e-2, atol=2e-3)
    for name, column in first.scores.items():
        np.testing.assert_allclose(column, second.scores[name][rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 100_000])
def test_the_size_of_batches_changes_no_row(learner, samples, tmp_path, batch_tokens):
    one = extract(samples, learner, CONFIG, out=tmp_path / "a")
    config = CONFIG.model_copy(update={"batch_tokens": batch_tokens})
    assert_same(one, extract(samples, learner, config, out=tmp_path / "b"))


def test_the_order_of_rows_is_the_callers_and_changes_no_row(learner, samples, tmp_path):
    forward = extract(samples, learner, CONFIG, out=tmp_path / "a")
    backward = extract(samples[::-1], learner, CONFIG, out=tmp_path / "b")
    assert backward.ids.tolist() == [sample.id for sample in samples[::-1]]
    assert_same(forward, backward, rows=slice(None, None, -1))


def test_two_extractions_are_equal_bit_by_bit(learner, samples, tmp_path):
    first, second = (extract(samples, learner, CONFIG, out=tmp_path / name) for name in "ab")
    np.testing.assert_array_equal(first.vectors, second.vectors)
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    for name, column in first.scores.items():
        np.testing.assert_array_equal(column, second.scores[name])


def test_features_have_the_promised_shapes_and_survive_the_disk(learner, samples, tmp_path):
    features = extract(samples, learner, CONFIG, out=tmp_path)
    features.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "embeddings.npy",
        "info.json",
        "scores.parquet",
        "vectors.npy",
    ]
    again = Features.load(tmp_path)
    assert again.vectors.shape == (len(samples), 64) and again.vectors.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(again.vectors.astype(np.float32), axis=1), 1.0, atol=2e-3)
    assert again.info["fingerprint"] == learner.fingerprint and again.info["unscored"] == 0
    assert {"seed", "layers", "dim", "code", "adapter", "batches_split", "padding"} <= set(again.info)
    has_image = [bool(sample.images) for sample in samples]
    assert np.isfinite(again.scores["image_grounding"]).tolist() == has_image


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt(monkeypatch, learner, samples, out, *, after):
    """Extract until `after` shards are written."""
    real, calls = work._measure_batches, []

    def measure(*args):
        if len(calls) == after:
            raise Interrupted
        calls.append(args)
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(work, "_measure_batches", measure)
        with pytest.raises(Interrupted):
            extract(samples, learner, CONFIG, out=out)
    return len(list(out.glob("shards/shard-*.npz")))


def test_finished_shards_are_not_measured_again_and_open_no_image(learner, samples, tmp_path, monkeypatch):
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    out = tmp_path / "out"
    assert interrupt(monkeypatch, learner, samples, out, after=1) == 1
    measured = []
    real = work._measure_batches
    monkeypatch.setattr(work, "_measure_batches", lambda *args: measured.append(args[0].start) or real(*args))
    resumed = extract(samples, learner, CONFIG, out=out)
    assert measured and min(measured) == 1
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    np.testing.assert_array_equal(resumed.embeddings, whole.embeddings)


def test_an_extraction_goes_on_with_its_batches_when_their_size_is_set_otherwise(
    learner, samples, tmp_path, monkeypatch
):
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    out = tmp_path / "out"
    interrupt(monkeypatch, learner, samples, out, after=1)
    notes = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    other = CONFIG.model_copy(update={"batch_tokens": 64})
    resumed = extract(samples, learner, other, out=out)
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
    assert resumed.info["batch_tokens"] == 256 and resumed.info["tokens_per_batch"] == 256
    assert [note for note in notes if "began with extraction.batch_tokens=256 and ends with it" in note]
    again = extract(samples, learner, other, out=out)
    assert again.info["batch_tokens"] == 256, "a finished extraction is loaded"


def test_when_all_shards_are_there_no_image_is_opened(learner, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "assemble", lambda *args: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        extract(samples, learner, CONFIG, out=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(cuts, "SHARD_SECONDS", 0.0)
    monkeypatch.setattr(StoredImage, "open", lambda image: pytest.fail(f"{image.image} was opened"))
    assert np.isfinite(extract(samples, learner, CONFIG, out=tmp_path).scores["perplexity"]).all()


@pytest.mark.parametrize("change", ["model", "dim", "layers", "vector", "seed", "rows", "adapter"])
def test_shards_of_another_model_or_setting_are_refused_by_name(learner, samples, tmp_path, monkeypatch, change):
    interrupt(monkeypatch, learner, samples, tmp_path, after=1)
    config, options, key = CONFIG, {}, change
    if change == "model":
        key = "fingerprint"
        with torch.no_grad():
            next(learner.model.parameters()).mul_(1.5)
    elif change in ("dim", "layers", "vector"):
        other = {"dim": 32, "layers": [1], "vector": "fisher"}[change]
        config = CONFIG.model_copy(update={change: other})
    elif change == "adapter":
        learner = begin_adapter(learner, seed=0)
        key = "fingerprint"
    elif change == "seed":
        options = {"seed": 1}
    else:
        key, samples = "ids", samples[1:]
    with pytest.raises(StoreError, match=f"was made with {key}="):
        extract(samples, learner, config, out=tmp_path, **options)


def test_shards_of_a_model_that_lies_elsewhere_now_are_continued(learner, samples, tmp_path, monkeypatch):
    interrupt(monkeypatch, learner, samples, tmp_path, after=1)
    maker = tmp_path / "shards" / "maker.json"
    maker.write_text(json.dumps({**json.loads(maker.read_text()), "model": "/elsewhere"}))
    found = extract(samples, learner, CONFIG, out=tmp_path)
    assert found.info["model"] != "/elsewhere" and np.isfinite(found.scores["perplexity"]).all()


def test_finished_features_are_loaded_and_those_of_another_adapter_refused(learner, samples, tmp_path, monkeypatch):
    adapted = begin_adapter(learner, seed=0)
    first = extract(samples, adapted, CONFIG, out=tmp_path)
    assert first.info["adapter"] == "real" and first.info["adapter_fingerprint"] == adapted.adapter_fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(work, "_measure_batches", lambda *_: pytest.fail("measured again"))
        again = extract(samples, adapted, CONFIG, out=tmp_path)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    with torch.no_grad():
        next(weight for name, weight in adapted.model.named_parameters() if "lora_B" in name).add_(1.0)
    with pytest.raises(StoreError, match="was made with (adapter_)?fingerprint="):
        extract(samples, adapted, CONFIG, out=tmp_path)


def test_an_image_that_is_gone_leaves_its_sample_unscored_and_named_and_spoils_no_other(
    learner, samples, tmp_path, caplog
):
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    gone = tmp_path / "gone.png"
    Image.new("RGB", (64, 64)).save(gone)
    lost = conversation("zz-lost", say("user", "<image>", "?"), say("assistant", "!"), images=(gone,))
    gone.unlink()
    features = extract([*samples, lost], learner, CONFIG, out=tmp_path / "out")
    assert features.info["unreadable"] == ["test/zz-lost"] and features.info["unscored"] == 1
    assert not features.vectors[-1].any() and not features.embeddings[-1].any()
    assert all(np.isnan(column[-1]) for column in features.scores.values())
    assert_same(whole, features, rows=slice(len(samples)))
    assert "test/zz-lost is unscored" in caplog.text


def counts(features):
    return {name: features.info[name] for name in ("unscored", "no_answer", "no_vector", "unreadable")}


def test_a_sample_whose_answer_is_cut_off_is_unscored_counted_and_spoils_no_other(learner, samples, tmp_path):
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    assert counts(whole) == {"unscored": 0, "no_answer": 0, "no_vector": 0, "unreadable": []}
    cut = conversation("zz-cut", say("user", "word " * 600), say("assistant", "never seen"))
    features = extract([*samples, cut], learner, CONFIG, out=tmp_path / "out")
    assert counts(features) == {"unscored": 1, "no_answer": 1, "no_vector": 0, "unreadable": []}
    assert not features.vectors[-1].any()
    assert all(np.isnan(column[-1]) for column in features.scores.values())
    assert_same(whole, features, rows=slice(len(samples)))


def test_a_loss_that_is_not_finite_is_recorded_and_spoils_no_other_in_its_batch(learner, samples, tmp_path):
    """A damaged embedding makes every sample with its token NaN."""
    (token,) = learner.tokenizer("\u00ff", add_special_tokens=False)["input_ids"][:1]
    with torch.no_grad():
        learner.model.get_input_embeddings().weight[token] = torch.nan
    # The demo's head is tied to its embeddings, and must not be NaN as well.
    head = learner.model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().nan_to_num(0.0))
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    sick = conversation("zz-sick", say("user", "?\u00ff"), say("assistant", "!"))
    features = extract([*samples, sick], learner, CONFIG, out=tmp_path / "out")
    assert counts(features) == {"unscored": 1, "no_answer": 0, "no_vector": 1, "unreadable": []}
    assert not features.vectors[-1].any() and not features.embeddings[-1].any()
    assert all(np.isnan(column[-1]) for column in features.scores.values())
    assert_same(whole, features, rows=slice(len(samples)))


def test_when_no_image_is_left_everything_is_unscored_and_nothing_fails(learner, tmp_path):
    nowhere = tmp_path / "nowhere.png"
    lost = [conversation(f"{n}", say("user", "<image>"), say("assistant", "!"), images=(nowhere,)) for n in range(3)]
    features = extract(lost, learner, CONFIG, out=tmp_path / "out")
    assert features.info["unscored"] == 3 and features.vectors.shape == (3, 64)
    features.save(tmp_path / "out")


def test_no_sample_gives_empty_features(learner, tmp_path):
    features = extract([], learner, CONFIG, out=tmp_path)
    features.save(tmp_path)
    again = Features.load(tmp_path)
    assert again.vectors.shape == (0, 64) and len(again.ids) == 0
    assert all(len(column) == 0 for column in again.scores.values())


def test_a_batch_that_does_not_fit_into_memory_is_split_and_counted(learner, samples, tmp_path, monkeypatch):
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    real = work.Meter.measure

    def measure(self, prepared):
        if len(prepared.rows) > 1:
            raise torch.OutOfMemoryError
        return real(self, prepared)

    monkeypatch.setattr(work.Meter, "measure", measure)
    split = extract(samples, learner, CONFIG, out=tmp_path / "split")
    assert split.info["batches_split"] > 0
    assert_same(whole, split)


def test_ids_that_occur_twice_are_refused(learner, samples, tmp_path):
    with pytest.raises(DataError, match="1 id used by several samples, e.g. 'test/"):
        extract([*samples, samples[0]], learner, CONFIG, out=tmp_path)


def test_a_damaged_shard_is_told_by_its_name(learner, samples, tmp_path, monkeypatch):
    interrupt(monkeypatch, learner, samples, tmp_path, after=1)
    (tmp_path / "shards" / "shard-000000-000001.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(StoreError, match=r"shard-000000-000001\.npz"):
        extract(samples, learner, CONFIG, out=tmp_path)


def test_a_full_disk_is_an_error_and_not_a_bus_error_and_costs_no_shard(learner, samples, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(assembling.os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left"):
            extract(samples, learner, CONFIG, out=tmp_path)
    monkeypatch.setattr(work, "_measure_batches", lambda *_: pytest.fail("measured again"))
    assert np.isfinite(extract(samples, learner, CONFIG, out=tmp_path).scores["perplexity"]).all()


def test_a_disk_that_fills_up_while_shards_are_written_ends_with_the_systems_error_and_costs_no_finished_one(
    learner, samples, tmp_path
):
    """The operating system refuses files beyond a length, as it does on a full disk; the writer is another thread."""
    whole = extract(samples, learner, CONFIG, out=tmp_path / "whole")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    out = tmp_path / "out"
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limit[1]))
        with pytest.raises(OSError, match="too large"):
            extract(samples, learner, CONFIG, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(out.glob("shards/shard-*.npz"))
    np.testing.assert_array_equal(extract(samples, learner, CONFIG, out=out).vectors, whole.vectors)


def test_arrays_are_readable_by_numpy_alone(learner, samples, tmp_path):
    extract(samples, learner, CONFIG, out=tmp_path)
    assert isinstance(tables.read_array(tmp_path / "vectors.npy"), np.memmap)
    assert np.load(tmp_path / "embeddings.npy").shape[0] == len(samples)
