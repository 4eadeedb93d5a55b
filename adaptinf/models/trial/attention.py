"""What a token's output depends on: earlier tokens only, not the mask, not the other samples of its batch."""

from __future__ import annotations

from collections.abc import Iterator

from adaptinf.errors import ModelError
from adaptinf.models.chat import IGNORED, Encoded, encode
from adaptinf.models.loading import Learner
from adaptinf.models.masks import needs_mask
from adaptinf.models.mixing import mixing_of
from adaptinf.models.passes import is_same, last_hidden
from adaptinf.models.samples import trial_images, trial_sample
from adaptinf.models.trial.findings import Finding

ROUNDING_TIMES = 10.0
"""A changed token changes how products of experts are cut, so rounding is larger than between equal batches."""


def conversations(learner: Learner) -> Iterator[tuple[str, Encoded]]:
    """Yield a conversation of text, and one about an image for a model with vision; what is refused is left out.

    Raises:
        ModelError: all are refused.
    """
    refusal: ModelError | None = None
    num_found = 0
    for kind, num_images in (("text", 0), ("an image", 1)) if learner.has_vision else (("text", 0),):
        try:
            batch = encode(learner, [trial_sample(5, num_images)], [trial_images(num_images)])
        except ModelError as error:
            refusal = error
            continue
        num_found += 1
        yield kind, batch.to(learner)
    if refusal is not None and not num_found:
        raise refusal


def causality(learner: Learner) -> Finding:
    """Change the last token of an answer; what comes before it must give the same."""
    for kind, batch in conversations(learner):
        place = int((batch.labels[0] != IGNORED).nonzero().flatten()[-1])
        ids = batch.inputs["input_ids"]
        others = ids[0][(batch.labels[0] != IGNORED) & (ids[0] != ids[0, place])]
        changed = ids.clone()
        changed[0, place] = others[0] if len(others) else (ids[0, place] + 1) % int(ids.max() + 1)
        before = last_hidden(learner, batch.inputs)[:, :place]
        after = last_hidden(learner, {**batch.inputs, "input_ids": changed})[:, :place]
        if not is_same(before, after, times=ROUNDING_TIMES):
            return Finding(
                name="causality",
                seen=f"answers see what follows: with {kind}, a later token changes the output at earlier ones",
                is_good=False,
                way_out="losses and training would copy the answer; use a model whose answers are read causally",
            )
    return Finding(name="causality", seen="later tokens do not change the output at earlier ones", is_good=True)


def mask(learner: Learner) -> Finding:
    """Compare padded batches with and without their mask."""
    is_needed = needs_mask(learner)
    seen = "changes the output, so it is kept" if is_needed else "changes nothing, so it is left out in extraction"
    return Finding(name="mask", seen=seen, is_good=True)


def mixed_batches(learner: Learner) -> Finding:
    """Compare conversations with different numbers of images, alone and together."""
    found = mixing_of(learner)
    together = {
        "any": "samples give the same alone and together",
        "images": "samples share a batch only with the same number of images, as they give something else otherwise",
        "alone": "every sample is a batch of its own, as it gives something else in any other",
    }[found.together]
    note = "" if found.together != "alone" else "this is slow; another version of transformers may do better"
    if not found.takes_text:
        note = "samples without an image cannot be used, and image grounding compares with blank images"
    return Finding(name="mixed batches", seen=together, is_good=True, way_out=note)
