"""The tiny model is an ordinary Hugging Face folder: it loads, labels exactly the answers, and stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptinf.demo.stream import BASE_PATH

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

IMAGE = Image.fromarray(np.full((80, 120, 3), 90, dtype=np.uint8))
MIXED: list[list[dict[str, Any]]] = [
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 plus 3?"},
        {"role": "assistant", "content": "The sum is 5."},
    ],
    [
        {"role": "user", "content": [{"type": "image", "image": IMAGE}, {"type": "text", "text": "Which color?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
        {"role": "user", "content": [{"type": "text", "text": "And the shape?"}]},
        {"role": "assistant", "content": "a circle"},
    ],
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "First "},
                {"type": "image", "image": IMAGE},
                {"type": "text", "text": " second "},
                {"type": "image", "image": IMAGE},
            ],
        },
        {"role": "assistant", "content": "gleich, même, 同じ 🙂"},
    ],
]


@pytest.fixture(scope="module")
def processor() -> Any:
    return transformers.AutoProcessor.from_pretrained(BASE_PATH, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> Any:
    return transformers.AutoModelForImageTextToText.from_pretrained(
        BASE_PATH, dtype=torch.float32, local_files_only=True
    ).eval()


def encode(processor: Any, conversations: list[list[dict[str, Any]]], **options: Any) -> Any:
    return processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": options.pop("side", "right")},
        **options,
    )


def test_it_is_small(model: Any) -> None:
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 3e6
    assert sum(path.stat().st_size for path in BASE_PATH.iterdir()) < 4 * 2**20


@pytest.mark.parametrize(
    "text", ["plain words", " Größe, 大きい!\n\tمرحبا 🙂 \u0000", "{'a': [1, 2]} \r\n  \\u00e9", ""]
)
def test_any_unicode_survives_the_tokenizer(processor: Any, text: str) -> None:
    tokenizer = processor.tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_answer_mask_is_every_answer_with_its_end_token(processor: Any) -> None:
    batch = encode(processor, MIXED, return_assistant_tokens_mask=True)
    end = processor.tokenizer.eos_token
    wanted = [f"The sum is 5.{end}", f"red{end}a circle{end}", f"gleich, même, 同じ 🙂{end}"]
    for ids, mask, answer in zip(batch["input_ids"], batch["assistant_masks"], wanted, strict=True):
        assert processor.tokenizer.decode(ids[torch.as_tensor(mask).bool()]) == answer


def test_every_image_becomes_sixteen_tokens(processor: Any) -> None:
    batch = encode(processor, MIXED)
    assert (batch["input_ids"] == processor.image_token_id).sum(dim=1).tolist() == [0, 16, 32]
    assert batch["pixel_values"].shape == (3, 3, 64, 64)


def test_a_batch_of_text_needs_no_images(processor: Any, model: Any) -> None:
    batch = encode(processor, MIXED[:1])
    assert "pixel_values" not in batch
    assert torch.isfinite(model(**batch).logits).all()


def test_blocks_keep_their_order(processor: Any) -> None:
    text = processor.apply_chat_template(MIXED[2], tokenize=False)
    assert text.startswith("<|user|>First <image> second <image><|end|><|assistant|>")


def test_generation_stops_and_left_padding_changes_nothing(processor: Any, model: Any) -> None:
    prompts = [conversation[:-1] for conversation in MIXED]
    batch = encode(processor, prompts, add_generation_prompt=True, side="left")
    together = model.generate(**batch, max_new_tokens=60)[:, batch["input_ids"].shape[1] :]
    alone = encode(processor, prompts[:1], add_generation_prompt=True)
    answer = model.generate(**alone, max_new_tokens=60)[0, alone["input_ids"].shape[1] :]
    assert (together == processor.tokenizer.eos_token_id).any(dim=1).all()
    assert together[0, : len(answer)].tolist() == answer.tolist()
