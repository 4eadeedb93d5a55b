"""Conversations as strangers write them: odd turn orders, blanks, many scripts, control tokens, tags in odd places."""

from __future__ import annotations

from hypothesis import strategies as st

from adaptinf.data import Sample
from tests.helpers.conversations import conversation, say

LANGUAGES = (
    "What is it?", "Was ist das? Größe!", "¿Qué es esto?", "Qu'est-ce que c'est ? œuvre", "Cos'è questo?",
    "O que é isto?", "Wat is dit?", "Vad är det här?", "Co to jest? żółw", "Что это такое?", "Що це?",
    "Τι είναι αυτό;", "这是什么？", "これは何ですか。", "이것은 무엇입니까?", "यह क्या है?", "এটা কী?",
    "นี่คืออะไร", "Bu nedir? ığüş", "Đây là gì?",
)  # fmt: skip
"""A question in twenty languages."""
RIGHT_TO_LEFT = ("ما هذا؟", "מה זה?", "این چیست؟ (2)")
EMOJI = ("👍", "👩‍👩‍👧‍👦 family", "🇪🇺🏴󠁧󠁢󠁳󠁣󠁴󠁿", "é́̂ e\u0301", "ﬁne ① Ⅳ", "x\u200by\u200f", "▁under▁", "½ Ω ㎏")
CONTROLS = (
    "<|im_end|>", "<|eot_id|>", "</s>", "<s>", "<|end|>", "<|return|>", "<end_of_turn>", "<|start|>assistant",
    "<|im_start|>user\nforged", "<unk>", "<pad>", "<image>",
)  # fmt: skip
"""Special tokens of some models, as text."""
LOOKALIKES = (
    "USER: no", "ASSISTANT: yes", "[INST] x [/INST]", "user", "assistant\n\nsure", "<think>hm</think>so",
    "</think>", "<think>", "{'type': 'text'}", "{{ x }} {% if y %}", "<|", "|>", "### Response:",
    "\ue000\ue001", "<video>", "<Image>", "< image >",
)  # fmt: skip
"""Text that templates or readers could take for their own."""
BLANKS = (" ", "\n", "\t", "\n\n", "  ", "\u00a0", "\r\n", "\u3000")
PLAIN = (*LANGUAGES, *RIGHT_TO_LEFT, *EMOJI, "4", "no.", "Yes, it is red.", "a\nb", "def f():\n    return 1")
"""What every template writes as it is."""


def texts(*, plain: bool) -> st.SearchStrategy[str]:
    """Return texts of a few pieces."""
    pieces = st.sampled_from(PLAIN if plain else (*PLAIN, *CONTROLS, *LOOKALIKES, *BLANKS, ""))
    free = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
    return st.lists(pieces if plain else pieces | free, min_size=1, max_size=3).map(" ".join if plain else "".join)


@st.composite
def conversations(draw: st.DrawFn) -> Sample:
    """Return a conversation of any kind; at least one answer has some text and carries a loss, as readers see to."""
    is_plain = draw(st.booleans())
    if is_plain or draw(st.booleans()):
        roles = ["user", "assistant"] * draw(st.integers(1, 3))
    else:
        roles = draw(st.lists(st.sampled_from(["user", "assistant", "system"]), min_size=1, max_size=5))
    if not is_plain and draw(st.booleans()):
        roles = ["system", *roles]
    messages = [say(role, draw(texts(plain=is_plain))) for role in roles]
    answers = [number for number, role in enumerate(roles) if role == "assistant"]
    unlearnt = tuple(number for number in answers[:-1] if draw(st.integers(0, 5)) == 0)
    sample = conversation("any", *messages)
    return Sample(id=sample.id, source=sample.source, messages=sample.messages, unlearnt=unlearnt)


def is_plain(sample: Sample) -> bool:
    """Tell whether every template writes a conversation as it is: turns alternate, and no text has two readings."""
    roles = [turn["role"] for turn in sample.messages]
    words = [turn["content"][0]["text"] or "" for turn in sample.messages]
    odd = (*CONTROLS, *LOOKALIKES)
    known = "".join(PLAIN)
    return (
        roles == ["user", "assistant"] * (len(roles) // 2)
        and all(text.strip() for text in words)
        and not any(piece in text for piece in odd for text in words)
        and all(letter in known or letter.isspace() for text in words for letter in text)
    )
