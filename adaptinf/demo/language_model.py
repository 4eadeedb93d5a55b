"""The language model of a tiny vision-language model, saved as a text-only model."""

from __future__ import annotations

from pathlib import Path


def write_language_model(base_path: Path, folder: Path) -> None:
    """Write the language model of a LLaVA folder, with its tokenizer and chat template, as a Llama model folder."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM, LlavaForConditionalGeneration

    whole = LlavaForConditionalGeneration.from_pretrained(base_path, dtype=torch.float32, local_files_only=True)
    config = whole.config.text_config
    config.tie_word_embeddings = True
    language = LlamaForCausalLM(config)
    language.model.load_state_dict(whole.model.language_model.state_dict())
    language.tie_weights()
    language.generation_config = whole.generation_config
    language.to(torch.float16).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base_path, local_files_only=True)
    tokenizer.chat_template = (base_path / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
