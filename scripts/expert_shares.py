"""Write the table of fused experts in docs/your-model.md: which share of a tiny model's weights has an adapter.

python -m scripts.expert_shares
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.models import Learner, load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.blocks import base_model
from adaptinf.models.experts import fused_experts
from adaptinf.models.shares import as_percent, shares_of
from tests.helpers.families import FAMILIES
from tests.helpers.torchvision_folder import environment_with_torchvision

PAGE = Path(__file__).parent.parent / "docs" / "your-model.md"
MARKED = re.compile(r"(?<=<!-- experts:begin -->\n).*?(?=<!-- experts:end -->)", re.S)
FAMILIES_WITH_EXPERTS = ("qwen3_moe", "gpt_oss", "deepseek_v3", "llama4", "qwen3_vl_moe", "mixtral", "qwen3_next")
"""Families in the table."""
RANK = 2
"""Of the adapters of the table."""
HEAD = (
    "| family | blocks with fused experts | of the language model's weights in them "
    "| with an adapter, `experts: false` | `experts: true` | adapter grows |\n|---|---|---|---|---|---|\n"
)


def page(text: str) -> str:
    """Return the page with the table made anew."""
    rows = "".join(_row(name, _measured_apart(name)) for name in FAMILIES_WITH_EXPERTS)
    return MARKED.sub(lambda _: f"\n{HEAD}{rows}\n", text)


def _row(name: str, found: dict[str, Any]) -> str:
    shares = " | ".join(as_percent(found[key]) for key in ("in_experts", "before", "after"))
    return f"| {name} | {found['blocks']} of {found['all_blocks']} | {shares} | {found['growth']:.1f} times |\n"


def _measured_apart(name: str) -> dict[str, Any]:
    """Return what `measured` does, in a process that has what the family's processor needs."""
    command = [sys.executable, "-m", "scripts.expert_shares", name]
    done = subprocess.run(command, env=environment_with_torchvision(), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(name: str) -> dict[str, Any]:
    """Return the shares of one family's tiny model."""
    with tempfile.TemporaryDirectory() as folder:
        FAMILIES[name].write(Path(folder))
        plain, experts = (_adapted(folder, experts=kind) for kind in (False, True))
    before, after = shares_of(plain), shares_of(experts)
    blocks = {layer for layer, _ in fused_experts(plain.model)}
    return {
        "blocks": len(blocks),
        "all_blocks": plain.model.config.get_text_config().num_hidden_layers,
        "in_experts": before.share_without_adapter,
        "before": _covered(plain) / before.language_weights,
        "after": (_covered(plain) + after.adapted_expert_weights) / after.language_weights,
        "growth": after.trained_weights / before.trained_weights,
    }


def _adapted(folder: str, *, experts: bool) -> Learner:
    lora = LoraConfig(rank=RANK, alpha=2 * RANK, experts=experts)
    return begin_adapter(load(ModelConfig(path=folder, dtype="float32", device="cpu", lora=lora)), seed=0)


def _covered(learner: Learner) -> int:
    """Return the number of weights in linear layers with an adapter."""
    # Any: PEFT's layers have members that torch's stubs do not know.
    layers: list[Any] = [module for module in base_model(learner.model).modules() if hasattr(module, "lora_A")]
    return sum(layer.get_base_layer().weight.numel() for layer in layers)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
    else:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
