"""A module `vllm` with the calls that are used of it, as vLLM 0.33 has them, answered by transformers on the CPU.

Signatures and meanings are those of `vllm/entrypoints/llm.py`, `vllm/sampling_params.py`, `vllm/lora/request.py` and
`vllm/outputs.py` of that release.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


@dataclass(kw_only=True)
class SamplingParams:
    """The fields that are used; the defaults are vLLM's."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    detokenize: bool = True


@dataclass(kw_only=True)
class LoRARequest:
    """As vLLM's: the id begins at 1, the path must not be empty."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""


@dataclass
class Engine:
    """What the fake was asked, for the test to look at."""

    started: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    num_ended: int = 0
    fails_to_start: str = ""
    longest: int = 10_000
    """Tokens of a prompt that is refused."""
    stops_after: int = 10_000
    """Calls that are answered."""


def install(monkeypatch: Any) -> Engine:
    """Put the fake in the place of vLLM for one test."""
    engine = Engine()
    module = ModuleType("vllm")
    lora, request = ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    own: Any = module
    own.__version__, own.SamplingParams, own.LLM = "0.33.0", SamplingParams, _make_llm(engine)
    request.LoRARequest = LoRARequest  # type: ignore[attr-defined]
    for name, part in (("vllm", module), ("vllm.lora", lora), ("vllm.lora.request", request)):
        monkeypatch.setitem(sys.modules, name, part)
    return engine


def _make_llm(engine: Engine) -> type:
    class LLM:
        """vLLM's offline entrance."""

        def __init__(
            self,
            model: str,
            *,
            trust_remote_code: bool = False,
            dtype: str = "auto",
            seed: int = 0,
            **kwargs: Any,
        ) -> None:
            from adaptinf.config import ModelConfig
            from adaptinf.models import load

            known = {"generation_config", "max_model_len", "enable_lora", "max_lora_rank", "max_loras"}
            assert kwargs.keys() <= {*known, "limit_mm_per_prompt"}, kwargs
            if engine.fails_to_start:
                raise ValueError(engine.fails_to_start)
            engine.started.append(
                {"model": model, "dtype": dtype, "files": sorted(p.name for p in Path(model).iterdir())}
            )
            engine.started[-1] |= kwargs
            self.learner: Any = load(ModelConfig(path=model, dtype="float32", device="cpu"))
            self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._end))

        def _end(self) -> None:
            engine.num_ended += 1

        def generate(
            self,
            prompts: Any,
            sampling_params: Any = None,
            *,
            use_tqdm: bool = True,
            lora_request: Any = None,
        ) -> list[Any]:
            if len(engine.calls) == engine.stops_after:
                raise KeyboardInterrupt
            engine.calls.append({"num": len(prompts), "lora": lora_request})
            model = self.learner.model
            if lora_request is not None:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, lora_request.lora_path)
            found = [self._one(model, *pair) for pair in zip(prompts, sampling_params, strict=True)]
            if lora_request is not None:
                model.unload()
            return found

        def _one(self, model: Any, prompt: dict[str, Any], params: SamplingParams) -> Any:
            assert params.temperature == 0.0 and params.ignore_eos and not params.detokenize
            if len(prompt["prompt_token_ids"]) > engine.longest:
                raise ValueError("The prompt is longer than the maximum model length")
            inputs = self._inputs(prompt)
            output = model.generate(
                **inputs, max_new_tokens=params.max_tokens, do_sample=False, eos_token_id=params.stop_token_ids
            )
            ids = inputs["input_ids"][0].tolist()
            tokens = output[0, len(ids) :].tolist()
            is_ended = bool(set(tokens) & set(params.stop_token_ids or []))
            completion = SimpleNamespace(token_ids=tokens, finish_reason="stop" if is_ended else "length")
            return SimpleNamespace(prompt_token_ids=ids, outputs=[completion])

        def _inputs(self, prompt: dict[str, Any]) -> dict[str, Any]:
            """Return the model's inputs: the processor lets the one tag of an image grow, as vLLM does."""
            images = prompt.get("multi_modal_data", {}).get("image")
            if not images:
                ids = torch.tensor([prompt["prompt_token_ids"]])
                return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            processor = self.learner.processor
            grown = processor(text=[processor.image_token * len(images)], images=[images], return_tensors="pt")
            tag = processor.image_token_id
            per_image = int((grown["input_ids"] == tag).sum()) // len(images)
            ids = [token for own in prompt["prompt_token_ids"] for token in [own] * (per_image if own == tag else 1)]
            rows = torch.tensor([ids])
            pixels = {name: value for name, value in grown.items() if name.startswith("pixel_")}
            return {"input_ids": rows, "attention_mask": torch.ones_like(rows), **pixels}

    return LLM
