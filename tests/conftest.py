"""Fixtures that several test files share, and which tests are heavy: `make test-fast` leaves those out."""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread for each of several processes of tests (pytest -n 2), which share the cores.
os.environ.update({"OMP_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {})

import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptinf import cli
from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.data import Sample
from adaptinf.storage.cache import VARIABLE
from tests.helpers.conversations import BASE_PATH, conversation, say

HEAVY_PLACES = (
    "api",
    "benchmarks",
    "cli/test_cli.py",
    "cli/test_cli_compare.py",
    "cli/test_with_torchvision.py",
    "demo/test_base.py",
    "demo/test_benchmark.py",
    "doctor",
    "evaluation/test_generation.py",
    "evaluation/test_served.py",
    "executors",
    "extraction/test_kills.py",
    "extraction/test_memory.py",
    "extraction/test_plan.py",
    "extraction/test_shortcuts.py",
    "history",
    "model_export",
    "models",
    "report/test_report.py",
    "runs/test_cache.py",
    "runs/test_damage.py",
    "runs/test_exclude.py",
    "runs/test_keep.py",
    "runs/test_overrule.py",
    "runs/test_replay.py",
    "test_faults.py",
    "test_gate_kills.py",
    "test_gated_runs.py",
    "test_gpu.py",
    "test_old_run_folders.py",
    "test_outside_trainer.py",
    "test_pipeline.py",
    "test_refresh.py",
    "training",
    "verify",
    "view/test_browser.py",
    "view/test_large.py",
)
"""Folders and files of tests that load a model or start whole runs; a test elsewhere carries the marker `heavy`."""
HEAVY_FIXTURES = {"driver", "hostile_runs", "learner", "runs"}
"""Fixtures that load a model or open a browser."""


def pytest_collection_modifyitems(items):
    places = [Path(__file__).parent / place for place in HEAVY_PLACES]
    for item in items:
        is_listed = any(item.path == place or place in item.path.parents for place in places)
        if is_listed or HEAVY_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.heavy)


running: list[pytest.Item] = []
"""The test that runs now, with its fixtures."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    running[:] = [item]


@pytest.fixture(scope="session", autouse=True)
def only_heavy_tests_load_models():
    """Fail every other test that loads a model, so that `make test-fast` stays fast."""
    from transformers import PreTrainedModel

    load = PreTrainedModel.from_pretrained.__func__

    def checked(cls, *args, **options):
        if running[0].get_closest_marker("heavy") is None:
            pytest.fail("this test loads a model: add its file to HEAVY_PLACES in tests/conftest.py, or mark it heavy")
        return load(cls, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedModel, "from_pretrained", classmethod(checked))
        yield


@pytest.fixture(scope="session", autouse=True)
def threads():
    """Two threads for torch, unless the environment says otherwise."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    logging.disable_progress_bar()


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    """A cache folder of the tests' own."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def one_thread():
    """A module's whole work on one thread, as in a worker of a comparison: `pytestmark` asks for it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs one command and gives (exit code, standard output, standard error)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["adaptinf", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as request:
            code = request.code or 0
        said = capsys.readouterr()
        assert code == 1 or "Traceback" not in said.err, said.err
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 64 + 8 * number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def ragged_samples(image_folder) -> list[Sample]:
    """Multi-turn, multi-image, text-only and very unequal lengths, in one list."""
    first, second, third, fourth = (image_folder / f"{number}.png" for number in range(4))
    return [
        conversation("one", say("user", "<image>", "What colour is it?"), say("assistant", "red"), images=(first,)),
        conversation(
            "turns",
            say("system", "Be brief."),
            say("user", "<image>", "How many dots are there?"),
            say("assistant", "There are many small dots, more than I can count."),
            say("user", "Are you sure?"),
            say("assistant", "Yes."),
            images=(second,),
        ),
        conversation(
            "two",
            say("user", "<image>", "and", "<image>", "same or different?"),
            say("assistant", "different"),
            images=(third, fourth),
        ),
        conversation("text", say("user", "Write the opposite of hot."), say("assistant", "cold")),
        conversation(
            "long",
            say("user", "Repeat after me: " + "blue circle, " * 12),
            say("assistant", "blue circle, " * 12),
        ),
        conversation("tiny", say("user", "?"), say("assistant", "!")),
    ]


@pytest.fixture
def learner():
    """A fresh tiny VLM in float32."""
    from adaptinf.models import load

    return load(ModelConfig(path=str(BASE_PATH), dtype="float32", lora=LoraConfig(rank=8, alpha=16), max_length=512))
