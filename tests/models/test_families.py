"""The contract of docs/your-model.md: what holds for every model family, on tiny models of random weights."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from adaptinf.config import ModelConfig
from adaptinf.errors import ModelError
from adaptinf.models import load
from scripts import expert_shares
from scripts.families import PAGE, page
from tests.helpers.contract import check_family
from tests.helpers.families import FAMILIES
from tests.helpers.torchvision_folder import environment_with_torchvision

PER_PUSH = ("llava15", "qwen2_5_vl", "qwen3", "opt")
"""Marks in the template; torchvision; a template that writes its last turn otherwise; linears called with two axes."""
SECONDS = 240
"""Longest check of one family in a process of its own."""


def found(family, folder, checks="all"):
    if not FAMILIES[family].needs:
        return check_family(family, folder, checks)
    command = [sys.executable, "-m", "tests.helpers.contract", family, str(folder), checks]
    done = subprocess.run(
        command, env=environment_with_torchvision(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "family", [name if name in PER_PUSH else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_family_keeps_the_contract(family, tmp_path):
    wrong = {check: message for check, message in found(family, tmp_path).items() if message}
    assert not wrong, "\n".join(f"{check}: {message}" for check, message in wrong.items())
    if FAMILIES[family].needs and find_spec("torchvision") is None:
        with pytest.raises(ModelError, match=re.escape("pip install 'adaptinf[vision]'")):
            load(ModelConfig(path=str(tmp_path / "model")))


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.refused is None])
def test_every_kind_of_adapter_goes_through_a_family(family, tmp_path):
    """Also fused experts, where the family has them."""
    wrong = {check: message for check, message in found(family, tmp_path, "adapters").items() if message}
    assert not wrong, "\n".join(f"{check}: {message}" for check, message in wrong.items())


@pytest.mark.slow
def test_the_table_of_fused_experts_is_what_the_tiny_models_have():
    """`python -m scripts.expert_shares` writes it."""
    text = expert_shares.PAGE.read_text(encoding="utf-8")
    assert expert_shares.page(text) == text, "run python -m scripts.expert_shares"


def test_the_table_of_the_docs_is_that_of_the_contract():
    """`python -m scripts.families` writes it."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python -m scripts.families"
