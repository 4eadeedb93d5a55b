"""The checks of the contract; each raises where the family breaks it, and says what it found."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adaptinf.config import ExtractionConfig, SkillConfig, TrainingConfig
from adaptinf.data import Sample
from adaptinf.doctor.exactness import autograd_error
from adaptinf.errors import ModelError
from adaptinf.evaluation.generation import generate
from adaptinf.evaluation.skills import SkillTest
from adaptinf.extraction import extract
from adaptinf.extraction.batches import Preparer
from adaptinf.extraction.meter import open_meter
from adaptinf.models import Learner
from adaptinf.models.blocks import base_model, decoder_blocks
from adaptinf.models.chat import IGNORED, traits_of, without_images
from adaptinf.models.trial import try_model
from adaptinf.training import train
from tests.helpers.contract.ground import Ground, end_tokens, row_of, squeezed, turns
from tests.helpers.contract.kinds import check_experts, check_kinds
from tests.helpers.families.family import NUM_BLOCKS

SEED = 5
GRADIENT = ExtractionConfig(vector="gradient", image="unmeasured")
HIDDEN = ExtractionConfig(vector="hidden", vector_tokens="all_but_first", layers=[2, 3], image="unmeasured")
ONE_STEP = TrainingConfig(batch_size=8, micro_batch_size=8, learning_rate=1e-2)


def check_load(ground: Ground) -> None:
    """It is opened as what it is, and its language model's blocks are found."""
    learner = ground.learner()
    assert learner.has_vision == ground.family.has_vision
    assert len(decoder_blocks(learner.model)) == NUM_BLOCKS


def check_trial(ground: Ground) -> None:
    """The trial before a run has nothing against it, and leaves the model as it was."""
    learner = ground.adapted()
    before = learner.fingerprint
    try_model(learner).refuse_bad(learner.config.path)
    assert learner.fingerprint == before


def check_labels(ground: Ground) -> None:
    """The labelled tokens of each turn decode to its answer, stand after its question, and teach to stop."""
    learner = ground.learner()
    opening = _opening(ground, learner)
    special = {number for number, token in learner.tokenizer.added_tokens_decoder.items() if token.special}
    for sample in ground.samples:
        row = row_of(learner, sample)
        answers, questions = turns(sample, "assistant"), turns(sample, "user")
        assert len(row.runs) == len(answers), f"{sample.id}: {len(row.runs)} runs of labels, {len(answers)} answers"
        before = 0
        for answer, question, (start, end) in zip(answers, questions, row.runs, strict=True):
            assert torch.equal(row.labels[start:end], row.ids[start:end])
            text = row.ids[start:end].tolist()
            while text and text[-1] in special:
                assert text[-1] not in opening, f"{sample.id}: the beginning of the next turn is learnt"
                text.pop()
            learnt = learner.tokenizer.decode(text)
            assert squeezed(learnt) == squeezed(answer), f"{sample.id}: {learnt!r} is learnt for {answer!r}"
            asked = learner.tokenizer.decode(row.ids[before:start])
            assert all(squeezed(word) in squeezed(asked) for word in question.split()), f"{sample.id}: {asked!r}"
            before = end
        assert int(row.ids[row.runs[-1][1] - 1]) in end_tokens(learner), f"{sample.id}: the last answer has no end"


def _opening(ground: Ground, learner: Learner) -> set[int]:
    """Return the tokens that the template writes to open an answer."""
    content = [{"type": "text", "text": "?"}] if ground.family.has_vision else "?"
    begun, opened = (
        learner.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=add
        )
        for add in (False, True)
    )
    written = opened[len(commonprefix([begun, opened])) :]
    return set(learner.tokenizer(written, add_special_tokens=False)["input_ids"])


def check_losses(ground: Ground) -> None:
    """Each sample's loss in a batch of all is that of the plain model, alone and with its mask."""
    learner = ground.learner()
    with tempfile.TemporaryDirectory() as folder:
        features = extract(ground.samples, learner, GRADIENT, out=Path(folder))
        found = dict(zip(features.ids.tolist(), features.scores["perplexity"], strict=True))
    for sample in ground.samples:
        row = row_of(learner, sample)
        with torch.no_grad():
            logits = learner.model(**row.inputs, use_cache=False).logits[0, :-1].float()
        expected = float(torch.nn.functional.cross_entropy(logits, row.labels[1:], ignore_index=IGNORED))
        assert abs(found[sample.id] / expected - 1) <= 1e-4, f"{sample.id}: {found[sample.id]} instead of {expected}"


def check_order(ground: Ground) -> None:
    """No answer token sees those that follow it."""
    learner = ground.learner()
    for sample in ground.samples[:2]:
        row = row_of(learner, sample)
        last = row.runs[-1][1] - 1
        changed = {**row.inputs, "input_ids": row.inputs["input_ids"].clone()}
        changed["input_ids"][0, last] = row.ids[row.runs[-1][0] - 1]
        with torch.no_grad():
            logits = [learner.model(**inputs, use_cache=False).logits[0, :last] for inputs in (row.inputs, changed)]
        error = float((logits[0] - logits[1]).abs().max())
        assert error <= 1e-3, f"{sample.id}: earlier logits move by {error:.1e} with the last answer token"


def check_gradients(ground: Ground) -> None:
    """The gradients of a trained adapter are autograd's."""
    learner = ground.adapted(trained=True)
    error = autograd_error(learner, GRADIENT, ground.samples, seed=SEED)
    if error is not None and 1e-5 < error < 1e-4:
        # Two orders of the same sums differ by as much in some of these models: float64 tells that from a mistake.
        base_model(learner.model).set_experts_implementation("eager")  # The others know no float64.
        learner = learner.with_model(learner.model.double())
        error = autograd_error(learner, GRADIENT, ground.samples, seed=SEED)
    assert error is not None and error <= 1e-5, f"gradients differ from autograd's by {error:.1e}"


def check_hidden_states(ground: Ground) -> None:
    """Vectors of hidden states are means of what the plain model gives as `output_hidden_states`."""
    learner = ground.learner()
    with (
        open_meter(learner, HIDDEN, seed=SEED) as meter,
        Preparer(learner, ground.samples, image="unmeasured") as preparer,
    ):
        batches = preparer.prepared([[row] for row in range(len(ground.samples))])
        found = [meter.measure(batch).vectors[0] for batch in batches]
    for sample, vector in zip(ground.samples, found, strict=True):
        with torch.no_grad():
            row = row_of(learner, sample)
            states = learner.model(**row.inputs, output_hidden_states=True, use_cache=False).hidden_states
        if len(states) != NUM_BLOCKS + 1:
            # A block for images was skipped in a conversation without them, and its state with it.
            continue
        own = [states[layer - ground.family.first_hidden][0, 1:].mean(0) for layer in HIDDEN.layers]
        expected = torch.cat(own).float()
        error = float(np.abs(vector - (expected / expected.norm()).numpy()).max())
        assert error <= 1e-5, f"{sample.id}: hidden states differ by {error:.1e}"


def check_batches(ground: Ground) -> None:
    """Vectors and scores of a sample are the same in a run over all as over itself; what is refused is unscored."""
    learner = ground.learner()
    with tempfile.TemporaryDirectory() as folder:
        together = extract(ground.all_samples, learner, GRADIENT, out=Path(folder, "all"))
        for sample, vector in zip(ground.all_samples, together.vectors, strict=True):
            is_refused = sample not in ground.samples
            assert (not vector.any()) == is_refused, f"{sample.id} is {'scored' if is_refused else 'unscored'}"
            if is_refused:
                continue
            alone = extract([sample], learner, GRADIENT, out=Path(folder, sample.id)).vectors[0]
            cosine = float(vector.astype(np.float32) @ alone.astype(np.float32))
            assert cosine >= 1 - 2e-3, f"{sample.id}: 1 - cosine {1 - cosine:.1e} in a batch"


def check_a_step(ground: Ground) -> None:
    """One optimiser step moves every adapter."""
    learner = ground.adapted()
    with tempfile.TemporaryDirectory() as folder:
        train(ground.samples, learner, ONE_STEP, out=Path(folder))
    weights = {name: weight for name, weight in learner.model.named_parameters() if "lora_B" in name}
    assert weights, "there is no adapter"
    still = [name for name, weight in weights.items() if not weight.any()]
    assert not still, f"{len(still)} of {len(weights)} adapters did not move, e.g. {still[0]}"


def check_generation(ground: Ground) -> None:
    """Answers in a batch are those one by one."""
    learner = ground.learner()
    ends = sorted(traits_of(learner).ends)

    def never_ends(module: Any, args: Any, output: Any) -> None:
        # So that no answer is empty.
        output.logits[..., ends] = -1e4

    hook = learner.model.register_forward_hook(never_ends)
    try:
        together = _answers(learner, ground.samples)
        alone = [_answers(learner, [sample])[0] for sample in ground.samples]
    finally:
        hook.remove()
    assert together == alone
    assert any(together), "no answer has a letter"


def _answers(learner: Learner, samples: Sequence[Sample]) -> list[str]:
    config = SkillConfig(skill="s", path="x.json", max_new_tokens=6)
    tests = [SkillTest(config=config, items=tuple(samples), rejected=())]
    return list(generate(learner, tests).texts)


def check_cut(ground: Ground) -> None:
    """`max_length` in the middle of a picture leaves the picture whole, and the sample without labels."""
    one = ground.samples[0]
    whole = row_of(ground.learner(), one)
    text = row_of(ground.learner(), without_images(one)) if "text" not in ground.family.refuses else None
    added = Counter(whole.ids.tolist()) - Counter(text.ids.tolist() if text else [])
    placeholder, count = added.most_common(1)[0]
    if count == 1:
        # A picture of one token cannot be cut.
        return
    places = (whole.ids == placeholder).nonzero().flatten()
    limit = max(8, int(places[len(places) // 2]))
    learner = ground.learner(max_length=limit)
    row = row_of(learner, one)
    assert (row.ids == placeholder).sum() == count, "the picture was cut"
    assert not row.runs, "a sample that is cut through a picture is learnt"
    with torch.no_grad():
        learner.model(**row.inputs, use_cache=False)


def check_projector(ground: Ground) -> None:
    """`projector: trained` finds one and trains all of it together with the adapter."""
    learner = ground.adapted(projector="trained")
    before = {name: weight.clone() for name, weight in learner.model.named_parameters() if weight.requires_grad}
    with tempfile.TemporaryDirectory() as folder:
        train(ground.samples, learner, ONE_STEP, out=Path(folder))
    after = dict(learner.model.named_parameters())
    own = [name for name in before if "lora_" not in name]
    still = [name for name in own if torch.equal(before[name], after[name])]
    assert own, "no weight of a projector is trained"
    assert not still, f"{still[0]} of the projector did not move"


def check_checkpointing(ground: Ground) -> None:
    """Gradient checkpointing changes no loss."""
    losses = []
    for is_on in (False, True):
        config = ONE_STEP.model_copy(update={"gradient_checkpointing": is_on, "epochs": 2})
        with tempfile.TemporaryDirectory() as folder:
            trained = train(ground.samples, ground.adapted(), config, out=Path(folder))
        losses.append([record["loss"] for record in trained.log])
    assert len(losses[0]) == 2 and losses[0][0] != losses[0][1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def check_refusal(ground: Ground) -> None:
    """It is refused in one line before anything is measured or trained, with the message of the table."""
    try:
        learner = ground.adapted()
        try_model(learner).refuse_bad(learner.config.path)
        with tempfile.TemporaryDirectory() as folder:
            extract(ground.samples, learner, GRADIENT, out=Path(folder))
    except ModelError as error:
        assert ground.family.refused is not None and ground.family.refused in str(error), str(error)
        assert "\n" not in str(error), str(error)
        return
    raise AssertionError("it is not refused")


CHECKS: dict[str, Callable[[Ground], None]] = {
    "load": check_load,
    "trial": check_trial,
    "labels": check_labels,
    "losses": check_losses,
    "order": check_order,
    "gradients": check_gradients,
    "hidden states": check_hidden_states,
    "batches": check_batches,
    "a step": check_a_step,
    "generation": check_generation,
    "a cut": check_cut,
    "projector": check_projector,
    "checkpointing": check_checkpointing,
}
"""What is checked -> how."""
OF_ADAPTERS: dict[str, Callable[[Ground], None]] = {"experts": check_experts, "kinds of adapters": check_kinds}
"""What is checked of other adapters than plain ones -> how."""
OF_IMAGES = ("a cut", "projector")
"""Checks for families that take images."""


def check_family(name: str, folder: Path, checks: str = "all") -> dict[str, str]:
    """Write the family's model into the folder; return {check: what is wrong, or an empty text}.

    `checks` is `all`, or `adapters` for those of other adapters than plain ones.
    """
    ground = Ground(name, folder)
    ground.family.write(folder / "model")
    if ground.family.refused is not None:
        return {"refusal": _outcome(check_refusal, ground)}
    return {
        what: _outcome(check, ground)
        for what, check in (OF_ADAPTERS if checks == "adapters" else CHECKS).items()
        if ground.family.has_vision or what not in OF_IMAGES
    }


def _outcome(check: Callable[[Ground], None], ground: Ground) -> str:
    """Return what is wrong; any error counts, so that one family shows all of its faults at once."""
    try:
        check(ground)
    except Exception as error:
        return f"{type(error).__name__}: {error}".strip()[:400]
    return ""
