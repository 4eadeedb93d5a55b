"""Conversations as tokens, with labels on the answers.

Two ways to find the answer tokens, tried in this order: the chat template's own `{% generation %}` marks, or the text
of the conversation rendered turn by turn, whose prefixes bound each answer. A template for which neither works is
refused, so that a model is never trained on the questions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.utils.chat_template_utils import render_jinja_template

from adaptinf.data import Message, Sample
from adaptinf.errors import ModelError
from adaptinf.models.loading import Learner

IGNORED = -100
"""Label of a token outside the answers (the convention of torch's cross-entropy and of transformers)."""

Images = Sequence[Image.Image]
Span = tuple[int, int]
"""First character, and one after the last."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A batch of model inputs; B samples, S tokens, right-padded."""

    inputs: dict[str, Tensor]
    """Everything that the processor returned: input_ids, attention_mask, pixel_values, ..."""
    labels: Tensor
    """B x S; the token itself where it is part of an answer, IGNORED elsewhere."""
    cut: Tensor
    """B bools: the text was longer than max_length."""
    image_token: int
    """Id of the image tokens; -1 for a text-only model."""

    def to(self, learner: Learner) -> Encoded:
        """Return the batch on the learner's device, images in the dtype of its weights."""
        inputs = placed(self.inputs, learner)
        return replace(self, inputs=inputs, labels=self.labels.to(learner.device))


def encode(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> Encoded:
    """Return whole conversations as a batch with answer labels, cut on the right at `max_length`.

    A sample whose image tokens extend beyond `max_length` keeps its images and loses all its labels: it has no answer
    token left, and the caller records it as unscored.

    Raises:
        ModelError: the answers cannot be found in the chat template's text, or the processor refuses the batch.
    """
    conversations = [_conversation(learner, sample.messages, own) for sample, own in zip(samples, images, strict=True)]
    texts, spans = _rendered(learner, conversations)
    batch, is_answer = _tokenised(learner, texts, spans, images)
    labels = torch.where(is_answer & batch["attention_mask"].bool(), batch["input_ids"], IGNORED)
    return _cut(batch, labels, learner)


def encode_prompts(learner: Learner, samples: Sequence[Sample], images: Sequence[Images]) -> dict[str, Tensor]:
    """Return the conversations up to the last answer as a left-padded batch, ready to generate that answer.

    Raises:
        ModelError: the processor refuses the batch.
    """
    prompts = [sample.messages[:-1] for sample in samples]
    conversations = [_conversation(learner, prompt, own) for prompt, own in zip(prompts, images, strict=True)]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    try:
        if learner.has_vision:
            padding = {"padding": True, "padding_side": "left"}
            return dict(learner.processor.apply_chat_template(conversations, processor_kwargs=padding, **options))
        learner.tokenizer.padding_side = "left"
        return dict(learner.tokenizer.apply_chat_template(conversations, padding=True, **options))
    except ValueError as error:
        raise _refusal(learner, error) from error


def placed(inputs: dict[str, Tensor], learner: Learner) -> dict[str, Tensor]:
    """Return a batch on the learner's device, floating-point inputs (images) in the dtype of its weights."""
    dtype = learner.model.dtype
    return {
        name: value.to(learner.device, dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
    }


def without_images(sample: Sample) -> Sample:
    """Return the conversation without its image blocks."""
    messages = tuple(
        Message(role=message["role"], content=[block for block in message["content"] if block["type"] != "image"])
        for message in sample.messages
    )
    return Sample(id=sample.id, source=sample.source, messages=messages)


def text_of(sample: Sample) -> str:
    """Return the text of a conversation, to estimate its length."""
    return "\n".join(block["text"] or "" for message in sample.messages for block in message["content"])


def _template(learner: Learner) -> str:
    template = getattr(learner.processor, "chat_template", None) or learner.tokenizer.chat_template
    return template if isinstance(template, str) else str(template)


def _conversation(learner: Learner, messages: Sequence[Message], images: Images) -> list[dict[str, Any]]:
    """Return messages for a chat template: image blocks contain their image; text-only models get plain text."""
    left = iter(images)
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks: list[dict[str, Any]] = [
            {"type": "image", "image": next(left)} if block["type"] == "image" else dict(block)
            for block in message["content"]
        ]
        if not learner.has_vision:
            _refuse_images(blocks, learner)
            turns.append({"role": message["role"], "content": "".join(str(block["text"]) for block in blocks)})
        else:
            turns.append({"role": message["role"], "content": blocks})
    return turns


def _refuse_images(blocks: list[dict[str, Any]], learner: Learner) -> None:
    if any(block["type"] == "image" for block in blocks):
        raise ModelError(
            f"model.path={learner.config.path} reads text only, but a sample has images; use a vision-language model"
        )


def _refusal(learner: Learner, error: ValueError) -> ModelError:
    return ModelError(f"the processor of {learner.config.path} refused a batch: {error}")


def _rendered(learner: Learner, conversations: list[Any]) -> tuple[list[str], list[list[Span]]]:
    """Return the conversations as text, and the spans of the answers in it."""
    template = _template(learner)
    if re.search(r"\{%-?\s*generation\s*-?%\}", template):
        texts, spans = render_jinja_template(
            conversations=conversations,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **learner.tokenizer.special_tokens_map,
        )
        return texts, spans
    texts = [_render(learner, turns) for turns in conversations]
    return texts, [_answer_spans(learner, turns, text) for turns, text in zip(conversations, texts, strict=True)]


def _tokenised(
    learner: Learner, texts: list[str], spans: list[list[Span]], images: Sequence[Images]
) -> tuple[dict[str, Any], Tensor]:
    """Return the right-padded batch, and B x S bools: the token overlaps an answer."""
    options: dict[str, Any] = {"return_offsets_mapping": True, "padding": True}
    bos = learner.tokenizer.bos_token
    if not learner.has_vision or (bos is not None and texts[0].startswith(bos)):
        # As in `apply_chat_template`: a tokenizer's template has all special tokens, a processor's may lack the first.
        options["add_special_tokens"] = False
    try:
        if learner.has_vision:
            given = [list(own) for own in images] if any(images) else None
            options |= {"padding_side": "right", "return_text_replacement_offsets": True}
            # Tensors for images only: some processors would try to convert the replacements as well, and fail.
            batch = dict(learner.processor(text=texts, images=given, images_kwargs={"return_tensors": "pt"}, **options))
        else:
            learner.tokenizer.padding_side = "right"
            batch = dict(learner.tokenizer(texts, **options))
    except ValueError as error:
        raise _refusal(learner, error) from error
    replaced = batch.pop("text_replacement_offsets", None) or [[] for _ in texts]
    tensors = {name: torch.as_tensor(value) for name, value in batch.items()}
    return tensors, _overlaps(tensors.pop("offset_mapping"), spans, replaced)


def _overlaps(offsets_BS2: Tensor, spans: list[list[Span]], replaced: list[list[Any]]) -> Tensor:
    """Return B x S bools: the token's characters overlap an answer. Padding and added tokens have no characters."""
    starts, ends = offsets_BS2[..., 0], offsets_BS2[..., 1]
    is_answer = torch.zeros(starts.shape, dtype=torch.bool)
    for row, (own_spans, own_replaced) in enumerate(zip(spans, replaced, strict=True)):
        for span in own_spans:
            start, end = _shifted(span, own_replaced)
            is_answer[row] |= (starts[row] < end) & (ends[row] > start) & (ends[row] > starts[row])
    return is_answer


def _render(learner: Learner, turns: list[Any], *, prompt: bool = False) -> str:
    template = learner.processor if learner.has_vision else learner.tokenizer
    return str(template.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))


def _answer_spans(learner: Learner, turns: list[Any], text: str) -> list[Span]:
    """Return the character spans of the answers in the rendered conversation."""
    spans = []
    for number, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before, through = _render(learner, turns[:number], prompt=True), _render(learner, turns[: number + 1])
        if not (text.startswith(before) and text.startswith(through) and len(before) <= len(through)):
            raise ModelError(
                f"the chat template of {learner.config.path} rewrites earlier turns, so the answers cannot be found; "
                "put {% generation %} marks around the assistant's content in its chat_template.jinja"
            )
        spans.append((len(before), len(through)))
    return spans


def _shifted(span: Span, replaced: list[Any]) -> Span:
    """Return the span of the text in which image tags are replaced by their placeholder tokens."""
    ends = [item["span"][1] for item in replaced]
    growth = [item["new_span"][1] - item["span"][1] for item in replaced]

    def moved(position: int) -> int:
        before = bisect_right(ends, position)
        return position + (growth[before - 1] if before else 0)

    return moved(span[0]), moved(span[1])


def _cut(batch: dict[str, Any], labels: Tensor, learner: Learner) -> Encoded:
    """Cut every B x S input at max_length; a row with images beyond it keeps no label."""
    limit, shape = learner.config.max_length, labels.shape
    image_token = getattr(learner.processor, "image_token_id", None)
    image_token = -1 if image_token is None else int(image_token)
    cut = batch["attention_mask"].sum(1) > limit
    whole = Encoded(inputs=batch, labels=labels, cut=cut, image_token=image_token)
    if not bool(cut.any()):
        return whole
    loses_images = (batch["input_ids"][:, limit:] == image_token).any(1)
    labels[loses_images] = IGNORED
    labels[:, limit:] = IGNORED
    if bool(loses_images.any()):
        # The number of placeholders must match the images, so these tokens stay; without labels they have no effect.
        return whole
    inputs = {name: value[:, :limit] if value.shape[:2] == shape else value for name, value in batch.items()}
    return replace(whole, inputs=inputs, labels=labels[:, :limit])
