"""How to load and serve an exported model: the code that stands in its card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adaptinf.model_export.names import ModelName, is_repository_name, model_name
from adaptinf.model_export.request import Request

if TYPE_CHECKING:
    from adaptinf.model_export.made import Made
    from adaptinf.models.asking import Asking

VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes for --max-lora-rank."""


def use_section(request: Request, made: Made) -> str:
    """Return the section about loading and serving, in Markdown."""
    base = model_name(request.run.settings.model.path)
    name = request.out.name if is_repository_name(request.out.name) else "exported-model"
    parts = ["### transformers", _python(request, made, base, name)]
    if request.form == "adapter":
        parts.append(_peft(request, made, base))
    parts += [_prompt_lines(request, made.asking), "### vLLM", _vllm(request, made, base, name)]
    return "\n\n".join(part for part in parts if part)


def _python(request: Request, made: Made, base: ModelName, name: str) -> str:
    asking = made.asking
    remote = ", trust_remote_code=True" if request.run.settings.model.trust_remote_code else ""
    reader = "processor" if asking.has_vision else "tokenizer"
    place = "model.device, model.dtype" if asking.has_vision else "model.device"
    names = ", ".join(sorted([asking.model_class, asking.reader_class, "GenerationConfig", *_quantised_names(request)]))
    lines = [
        *(["from PIL import Image"] if asking.has_vision else []),
        f"from transformers import {names}",
        "",
        f"folder = {quoted(name)}  # this folder, or its name on the hub",
        f"{reader} = {asking.reader_class}.from_pretrained(folder{remote})",
        *_loading(request, made, base, remote),
        "model.generation_config = GenerationConfig.from_pretrained(folder)",
        *_question(asking, reader),
        f"tokens = model.generate(**inputs.to({place}), max_new_tokens=64)",
        'written = tokens[0, inputs["input_ids"].shape[1] :].tolist()',
        *_without_ends(asking),
        f"print({reader}.decode(written, skip_special_tokens=True).strip())",
    ]
    return _fenced("python", lines)


def _without_ends(asking: Asking) -> list[str]:
    """Return the line that takes end tokens away: those that are not flagged as special would stay in the text."""
    return ["written = [token for token in written if token not in model.generation_config.eos_token_id]"][
        : len(asking.ends)
    ]


def _loading(request: Request, made: Made, base: ModelName, remote: str) -> list[str]:
    """Return the lines that load the model: an adapter with PEFT where transformers alone does not load it."""
    bits = ", quantization_config=quantization" if _quantised_names(request) else ""
    load, end = f"{made.asking.model_class}.from_pretrained", f', dtype="{made.dtype}"{bits}{remote})'
    if made.failed:
        return ["from peft import PeftModel", "", *_quantised(request, made), *_with_peft(request, load, end, base)]
    note = "  # loads its base model, and puts it on that" if request.form == "adapter" else ""
    return [*_quantised(request, made), f"model = {load}(folder{end}{note}"]


def _quantised_names(request: Request) -> list[str]:
    """Return what the code needs for a base model whose weights the run held in few bits; nothing for others."""
    return ["BitsAndBytesConfig"] if request.run.settings.model.quantization != "none" else []


def _quantised(request: Request, made: Made) -> list[str]:
    """Return the line with the settings of bitsandbytes that the run had."""
    kind = request.run.settings.model.quantization
    four = f'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="{made.dtype}"'
    options = {"none": "", "8bit": "load_in_8bit=True", "4bit": four}[kind]
    return [f"quantization = BitsAndBytesConfig({options})"] if options else []


def _with_peft(request: Request, load: str, end: str, base: ModelName) -> list[str]:
    revision = f", revision={quoted(request.commit)}" if base.is_on_hub and request.commit else ""
    return [f"model = {load}({quoted(base.name)}{revision}{end}", "model = PeftModel.from_pretrained(model, folder)"]


def quoted(text: str) -> str:
    """Return a text as Python code has it, in double quotes."""
    return json.dumps(text)


def _question(asking: Asking, reader: str) -> list[str]:
    """Return the lines that make the inputs of one question, with exactly the tokens of the run's tests."""
    words = "What is in the image?" if asking.has_vision else "What is 2 + 3?"
    text = f'{{"type": "text", "text": "{words}"}}'
    if asking.is_text:
        content = quoted(f"{asking.placeholder}{words}" if asking.has_vision else words)
    else:
        content = f'[{{"type": "image"}}, {text}]' if asking.has_vision else f"[{text}]"
    opening = f" + {quoted(asking.opening)}" if asking.opening else ""
    lines = [
        f'messages = [{{"role": "user", "content": {content}}}]',
        f"text = {reader}.apply_chat_template(messages, tokenize=False, add_generation_prompt=True){opening}",
    ]
    special = "" if asking.add_special else ", add_special_tokens=False"
    if not asking.has_vision:
        return [*lines, f'inputs = {reader}(text, return_tensors="pt"{special})']
    image = 'image = Image.open("image.png").convert("RGB")'
    return [image, *lines, f'inputs = {reader}(text=[text], images=[[image]], return_tensors="pt"{special})']


def _peft(request: Request, made: Made, base: ModelName) -> str:
    if made.failed:
        return "transformers alone does not load this adapter, so PEFT puts it on its base model here."
    bits = ", quantization_config=quantization" if _quantised_names(request) else ""
    end = f', dtype="{made.dtype}"{bits})'
    lines = _with_peft(request, f"{made.asking.model_class}.from_pretrained", end, base)
    code = _fenced("python", ["from peft import PeftModel", "", *lines])
    also = "" if _quantised_names(request) else ", which can also merge the adapter (`model.merge_and_unload()`)"
    return f"The same with PEFT{also}:\n\n{code}"


def _prompt_lines(request: Request, asking: Asking) -> str:
    """Return what else has to be as in the tests of the run."""
    ends = ", ".join(f"`{text}`" for text in asking.end_texts)
    lines = [f"- Answers end at {ends}; `generation_config.json` says so, and that they are greedy, as in the tests."]
    if asking.left_out:
        left = ", ".join(f"`{name}: {value}`" for name, value in asking.left_out.items())
        lines.append(f"- The base model came with {left}; the tests were made without, so they are not in that file.")
    if asking.writes_today:
        lines.append(f"- The chat template writes the date; the tests had {request.run.settings.model.date}.")
    if request.run.settings.model.quantization != "none":
        bits = request.run.settings.model.quantization
        lines.append(f"- Training and tests had the base model in {bits}; with other weights some answers differ.")
    if asking.opening is None:
        lines.append("- The run's prompts are not those that the chat template writes for an answer to come.")
    elif asking.opening:
        lines.append(f"- In training and tests, `{quoted(asking.opening)}` stands between the prompt and the answer.")
    return "\n".join(lines)


def _vllm(request: Request, made: Made, base: ModelName, name: str) -> str:
    remote = " --trust-remote-code" if request.run.settings.model.trust_remote_code else ""
    if request.form != "adapter":
        return _fenced("sh", [f"vllm serve {name}{remote}"]) + "\n\n" + _request_lines(made.asking, name)
    if made.unserved:
        return (
            f"vLLM does not serve an adapter with {made.unserved}. Serve the merged model, which "
            "`adaptinf export-model --merge` writes."
        )
    rank = next((value for value in VLLM_RANKS if value >= made.rank), None)
    if rank is None:
        return f"vLLM takes ranks up to {VLLM_RANKS[-1]}, and this adapter has {made.rank}: serve the merged model."
    command = [
        f"vllm serve {base.name}{remote} --enable-lora --max-lora-rank {rank} \\",
        f"    --lora-modules {name}={name} --generation-config {name}",
    ]
    return _fenced("sh", command) + "\n\n" + _request_lines(made.asking, name)


def _request_lines(asking: Asking, name: str) -> str:
    special = ', `"add_special_tokens": true`' if asking.add_special else ""
    return (
        f'Ask for the model `{name}` with `"temperature": 0`{special}. vLLM computes in another order than '
        "transformers, so that a few answers may differ from those of the tests."
    )


def _fenced(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
