"""Compiled blocks: the same numbers up to rounding, the same bytes for any worker, plain where they cannot be."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptinf.config import ExtractionConfig, ModelConfig
from adaptinf.data import Features
from adaptinf.errors import ModelError
from adaptinf.executors.processes import ProcessesExecutor
from adaptinf.extraction import compiled, extract
from adaptinf.extraction.batches import prepare
from adaptinf.extraction.compiled import CannotCompile, compilable
from adaptinf.extraction.meter import open_meter
from adaptinf.extraction.shards import MAKER_FILE, SHARDS
from adaptinf.models.recipe import LearnerRecipe
from tests.extraction.reference import SEED, measure, open_all, with_adapter
from tests.helpers.conversations import BASE_PATH

pytestmark = pytest.mark.heavy
CONFIG = ExtractionConfig(dim=64, batch_tokens=256)


def measured(learner, samples, out, **settings):
    executor = settings.pop("executor", None)
    return extract(samples, learner, CONFIG.model_copy(update=settings), out=out, seed=SEED, executor=executor)


def assert_alike(one: Features, other: Features) -> None:
    for first, second in ((one.vectors, other.vectors), (one.embeddings, other.embeddings)):
        np.testing.assert_allclose(first.astype(float), second.astype(float), atol=2e-3)
    for name, column in one.scores.items():
        np.testing.assert_allclose(column, other.scores[name], rtol=1e-4, atol=1e-5, err_msg=name)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "info.json"}


@pytest.fixture
def traced_only(monkeypatch):
    """Trace blocks as the compiler does, without compiling them, which takes half a minute."""
    real = torch.compile

    def compile(forward, **options):
        return real(forward, **{**options, "backend": "eager", "options": None})

    monkeypatch.setattr(torch, "compile", compile)


def replaced(monkeypatch, changed):
    """Let the compiler give a function that changes what a block gives."""

    def compile(forward, **_):
        return lambda *args, **kwargs: changed(forward(*args, **kwargs))

    monkeypatch.setattr(torch, "compile", compile)


@pytest.mark.slow
@pytest.mark.parametrize("vector", ["hidden", "gradient", "fisher"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_blocks_give_what_plain_ones_give(learner, ragged_samples, tmp_path, vector, dtype):
    learner.model.to(getattr(torch, dtype))
    adapted = with_adapter(learner)
    plain = measured(adapted, ragged_samples, tmp_path / "plain", vector=vector, compile=False)
    fused = measured(adapted, ragged_samples, tmp_path / "fused", vector=vector, compile=True)
    assert (plain.info["compiled"], fused.info["compiled"]) == (False, True)
    if dtype == "float32":
        assert_alike(plain, fused)
    assert np.all((plain.vectors.astype(float) * fused.vectors.astype(float)).sum(1) > 0.99)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_number_of_workers_gives_the_same_bytes_and_so_does_a_resumed_extraction(ragged_samples, tmp_path):
    model = ModelConfig(path=str(BASE_PATH), dtype="float32", max_length=512)
    recipe, samples = LearnerRecipe(model=model, new_adapter_seed=1), list(ragged_samples)
    measured(recipe, samples, tmp_path / "here", compile=True)
    for workers in (1, 2):
        executor = ProcessesExecutor([{}] * workers)
        out = tmp_path / f"workers-{workers}"
        measured(recipe, samples, out, compile=True, executor=executor)
        executor.close()
        assert bytes_of(out) == bytes_of(tmp_path / "here")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        halted(patch, after=1)
        measured(recipe, samples, tmp_path / "resumed", compile=True)
    # It goes on as it began, whatever the setting says now.
    resumed = measured(recipe, samples, tmp_path / "resumed", compile=False)
    assert resumed.info["compiled"] and bytes_of(tmp_path / "resumed") == bytes_of(tmp_path / "here")


def halted(patch, *, after):
    """Interrupt an extraction after so many shards."""
    from adaptinf.extraction import work

    real, written = work.write_shard, []

    def write(path, columns):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        real(path, columns)

    patch.setattr(work, "write_shard", write)


def test_traced_blocks_give_exactly_what_plain_ones_give(learner, ragged_samples, tmp_path, traced_only):
    adapted = with_adapter(learner)
    for vector in ("hidden", "gradient"):
        plain = measured(adapted, ragged_samples, tmp_path / f"{vector}-plain", vector=vector)
        traced = measured(adapted, ragged_samples, tmp_path / f"{vector}-traced", vector=vector, compile=True)
        assert not plain.info["compiled"] and traced.info["compiled"]
        assert_alike(plain, traced)
    assert all("forward" not in vars(module) for module in adapted.model.modules())


def test_a_batch_of_another_form_is_computed_without_compiling_again(learner, ragged_samples, traced_only):
    adapted = with_adapter(learner)
    with open_meter(adapted, CONFIG, seed=SEED) as meter, compilable(meter) as blocks:
        expected = measure(meter, ragged_samples)
        blocks.turn_on()
        images = [open_all(sample) for sample in ragged_samples]
        batch = prepare(adapted, range(len(images)), ragged_samples, images, image="unmeasured")
        blocks.compare(batch)
        masked = replace(meter, is_masked=True)
        found = measure(masked, ragged_samples)
        blocks.meter = masked
        with pytest.raises(CannotCompile, match="another form"):
            blocks.compare(batch)
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-5)


def test_a_compiler_that_changes_what_a_block_gives_is_noticed(learner, ragged_samples, tmp_path, monkeypatch):
    adapted = with_adapter(learner)
    replaced(monkeypatch, lambda output: output * 1.01)
    with pytest.raises(ModelError, match="extraction.compile: true, but a compiled block gives something else"):
        measured(adapted, ragged_samples, tmp_path / "asked", vector="hidden", compile=True)
    monkeypatch.setattr(compiled, "wants_compiled", lambda *_: True)
    monkeypatch.setattr("adaptinf.extraction.work.wants_compiled", lambda *_: True)
    notes = Notes()
    config = CONFIG.model_copy(update={"vector": "hidden"})
    found = extract(ragged_samples, adapted, config, out=tmp_path / "auto", seed=SEED, progress=notes)
    assert not found.info["compiled"]
    (line,) = notes.lines
    assert line.startswith("blocks are not compiled: a compiled block gives something else")


class Notes:
    """Progress that keeps the lines of text."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)

    def stage(self, title, total, unit="samples"):
        return nullcontext(self)

    def advance(self, count=1):
        pass


def test_what_cannot_be_compiled_says_why(learner, ragged_samples, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler is here")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ModelError, match="no compiler is here; set extraction.compile: auto"):
        measured(learner, ragged_samples, tmp_path / "out", compile=True)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="zeroth_order moves what blocks compute"):
        measured(learner, ragged_samples, tmp_path / "slopes", compile=True, vector="zeroth_order")


def test_a_worker_that_cannot_compile_refuses_an_extraction_that_began_compiled(
    learner, ragged_samples, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        replaced(patch, lambda output: output)
        halted(patch, after=1)
        with pytest.raises(KeyboardInterrupt):
            measured(learner, ragged_samples, out, compile=True)
    assert json.loads((out / SHARDS / MAKER_FILE).read_text())["compiled"] is True
    monkeypatch.setattr(compiled.CompiledBlocks, "turn_on", refuse)
    with pytest.raises(ModelError, match=r"began with compiled blocks.*cannot be compiled here \(no g\+\+\)"):
        measured(learner, ragged_samples, out, compile="auto")


def refuse(_):
    raise CannotCompile("no g++")


def test_auto_compiles_for_many_samples_on_a_gpu():
    for device, number, expected in (("cuda", 10**5, True), ("cuda", 100, False), ("cpu", 10**5, False)):
        assert compiled.wants_compiled(ExtractionConfig(), torch.device(device), number) is expected
    assert compiled.wants_compiled(ExtractionConfig(compile=True), torch.device("cpu"), 1)
