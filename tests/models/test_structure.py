"""What a trial finds: the blocks that text runs through, the linears that are called, the projector of an image."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from adaptinf.config import LoraConfig, ModelConfig
from adaptinf.errors import ConfigError
from adaptinf.models import load
from adaptinf.models.adapters import begin_adapter
from adaptinf.models.blocks import decoder_blocks, input_use, lora_targets, target_linears
from adaptinf.models.projector import projector_names
from adaptinf.models.structure import structure_of
from tests.helpers.families import FAMILIES, write_idefics3

SIZE = 8


class Router(nn.Linear):
    """A linear layer by its class, which gives two results."""

    def forward(self, x):
        scores = super().forward(x)
        return scores, scores.argmax(-1)


class Turned(nn.Linear):
    """The same product, written otherwise."""

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Block(nn.Module):
    """One linear of each kind."""

    def __init__(self):
        super().__init__()
        self.called = nn.Linear(SIZE, SIZE)
        self.by_weight = nn.Linear(SIZE, SIZE)
        self.never = nn.Linear(SIZE, SIZE)
        self.router = Router(SIZE, 6)
        self.turned = Turned(SIZE, SIZE)
        self.as_list = nn.Linear(SIZE, SIZE)
        self.swapped = nn.Linear(SIZE, SIZE)
        self.experts = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(6))

    def forward(self, hidden):
        hidden = hidden + self.turned(self.called(hidden)) + hidden @ self.by_weight.weight
        _, chosen = self.router(hidden)
        rows = hidden.reshape(-1, SIZE)
        own = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            place = (chosen.reshape(-1) == number).nonzero().flatten()
            if len(place):
                own[place] = expert(rows[place])
        swapped = self.swapped(hidden.transpose(0, 1).reshape(-1, SIZE)).view(*hidden.shape[1::-1], SIZE)
        return hidden + (own + self.as_list(rows)).view_as(hidden) + swapped.transpose(0, 1)


class Toy(nn.Module):
    """A language model with a deeper vision tower within its decoder, as some have it, and an unused list."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(model_type="toy")
        self.embedding = nn.Embedding(40, SIZE)
        self.layers = nn.ModuleList(Block() for _ in range(2))
        self.side = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(3))
        self.vision = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(5))
        self.head = nn.Linear(SIZE, 40)

    def get_input_embeddings(self):
        return self.embedding

    def get_decoder(self):
        return self

    def forward(self, input_ids, use_cache=False):
        hidden = self.embedding(input_ids)
        for layer in self.side:
            layer(hidden)
        for layer in self.layers:
            hidden = layer(hidden)
        return SimpleNamespace(logits=self.head(hidden))


@pytest.fixture(scope="module")
def toy():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Toy().eval()


def test_the_blocks_are_the_list_that_text_runs_through_to_the_head(toy):
    assert decoder_blocks(toy) is toy.layers


def test_only_linears_that_are_called_and_give_a_product_take_an_adapter(toy):
    experts = {f"experts.{number}" for number in range(6)}
    assert set(target_linears(toy, 0)) == {"called", "turned", "as_list", "swapped"} | experts
    assert len(lora_targets(toy, None)) == 2 * 10
    with pytest.raises(ConfigError, match=r"target_modules=\['never'\] matches no layer"):
        lora_targets(toy, ["never"])


def test_how_tokens_are_given_is_seen_by_what_one_token_changes(toy):
    uses = {name: input_use(toy, 0, name) for name in ("called", "turned", "as_list", "swapped", "experts.0")}
    assert uses == {"called": "rows", "turned": "rows", "as_list": "flat", "swapped": "other", "experts.0": "other"}


def test_a_trial_leaves_modes_and_random_numbers_alone():
    model = Toy().eval()
    model.layers[1].called.train()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert structure_of(model) is not None
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.layers[1].called.training and not model.layers[0].called.training


def test_without_a_possible_pass_the_longest_list_of_the_decoder_is_taken():
    class Asking(Toy):
        def forward(self, input_ids, pixels, use_cache=False):
            return super().forward(input_ids)

    model = Asking()
    assert structure_of(model) is None
    # The experts of the first block; a list of five is the vision tower, and the language model has two blocks.
    assert decoder_blocks(model) is model.layers[0].experts


@pytest.mark.parametrize(("family", "left_out"), [("mamba", {"dt_proj", "out_proj"}), ("jamba", {"dt_proj"})])
def test_every_adapter_of_a_state_space_model_is_used(tmp_path, family, left_out):
    learner = load(ModelConfig(path=str(FAMILIES[family].write(tmp_path)), dtype="float32", lora=LoraConfig(rank=2)))
    model = begin_adapter(learner, seed=0).model.train()
    adapted = {name.split(".")[-1] for name, module in model.named_modules() if hasattr(module, "lora_A")}
    assert adapted and not adapted & left_out
    model(input_ids=torch.arange(5, 17)[None], use_cache=False).logits.square().sum().backward()
    ups = {name: weight.grad for name, weight in model.named_parameters() if "lora_B" in name}
    assert all(gradient is not None and gradient.any() for gradient in ups.values())


def test_the_projector_of_any_name_is_what_an_image_runs_through(tmp_path):
    learner = load(ModelConfig(path=str(write_idefics3(tmp_path)), dtype="float32"))
    assert projector_names(learner) == ["model.connector"]
    model = learner.model.model
    model.odd_name, model.unused = model.connector, nn.Linear(4, 4)
    del model.connector
    original = type(model).get_image_features

    def features(self, *args, **kwargs):
        object.__setattr__(self, "connector", self.odd_name)
        return original(self, *args, **kwargs)

    type(model).get_image_features = features
    try:
        assert projector_names(learner) == ["model.odd_name"]
    finally:
        type(model).get_image_features = original


def test_a_vision_model_without_a_projector_is_refused_where_it_should_be_trained(learner, monkeypatch):
    from adaptinf.models import projector

    monkeypatch.setattr(projector, "_candidates", lambda model, walk: [])
    trained = learner.config.model_copy(update={"projector": "trained"})
    with pytest.raises(ConfigError, match=r"no projector .*; set model\.projector: frozen"):
        begin_adapter(load(trained), seed=0)
