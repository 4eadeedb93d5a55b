"""Sections `extraction`, `clustering`, `selection` and `pruning`: what is measured, chosen and pruned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adaptinf.config.schema.section import Section

NAMED_OPTIONS = ("budgets", "choose", "sampling")
"""Options of methods that have a key of their own under `selection:`; the others stand under `options:`."""


FORWARD_ONLY = ("hidden", "weighted_hidden", "neurons")
"""Values of `extraction.vector` that take no gradient."""
TokenSet = Literal["all_but_first", "text", "question", "answer"]
"""Tokens that a hidden state is averaged over."""


class ExtractionConfig(Section):
    """What is measured on every sample of the pool at every step."""

    layers: Literal["first", "middle", "last"] | int | list[int] = "middle"
    """Decoder block (or blocks, 0-based) that vectors are taken from."""
    dim: int = Field(default=8192, ge=8)
    """Length of a sketched gradient, at most that of a fisher vector; hidden vectors do not use it."""
    vector: Literal["auto", "gradient", "fisher", "hidden", "weighted_hidden", "neurons", "zeroth_order"] = "auto"
    """Kind of vector, see docs/extraction.md; auto: what the method needs (adapt: the sketched gradient)."""
    vector_tokens: TokenSet = "answer"
    """Tokens that a `hidden` vector is the mean of."""
    probes: int = Field(default=32, ge=1)
    """Numbers in a `zeroth_order` vector; each costs two passes through the upper blocks."""
    image: Literal["auto", "removed", "blank", "unmeasured"] = "auto"
    """What image grounding compares with: images removed or blank; unmeasured: none; auto: what the method needs."""
    batch_tokens: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Tokens in one batch, padding included; auto: what fits on a GPU, found by trying; 4096 on a CPU."""
    compile: Literal["auto"] | bool = "auto"
    """Fuse what decoder blocks compute (torch.compile), tried first; auto: on a GPU, for many samples."""
    model: str | None = None
    """A smaller proxy model that is measured instead of the trained model; null: the model itself."""
    keep: Literal["last", "all"] = "last"
    """last: vectors and embeddings of older steps are removed, their scores stay; all: everything stays."""
    embedding_tokens: TokenSet = "all_but_first"
    """Tokens that the embedding is the mean of."""
    refresh: Literal["all", "new"] | float | dict[Literal["max_age"], int] = "all"
    """What a step measures of samples that earlier ones measured: all; new: none; a share; those past {max_age: 4}."""

    @field_validator("refresh", mode="before")
    @classmethod
    def _is_refresh(cls, value: object) -> object:
        age = value["max_age"] if isinstance(value, dict) and list(value) == ["max_age"] else None
        if value in ("all", "new") or (type(age) is int and age > 0) or (type(value) is float and 0 < value < 1):
            return value
        raise ValueError(
            f"{str(value)[:80]!r} must be all, new, a share between 0 and 1 such as 0.25, or {{max_age: 4}}, a number "
            "of steps from 1 on"
        )


class ClusteringConfig(Section):
    """Step 1: pseudo-skill clusters."""

    clusters: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Number of k-means clusters; auto: the knee of the sum of squares, or the method's own number."""


class SelectionConfig(Section):
    """Step 2: what to train on."""

    method: str = "adapt_plus"
    """Name of the selector (`adaptinf list`)."""
    budget: int = Field(default=25_000, ge=1)
    """Samples to train on in one step."""
    replay_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of the budget for samples of earlier datasets, such as 0.3; null: the method's own, see docs/replay.md."""
    keep: str | None = None
    """File with one id per line: samples that are trained on when they arrive and never pruned; null: none."""
    targets: str | None = None
    """File of conversations with answers, towards which less, round_robin and rds_plus choose; null: none."""
    scorers: list[str] = Field(default=["perplexity", "image_grounding", "el2n", "entropy"], min_length=1)
    """Scores that a cluster of adapt chooses from, of equals the earlier; column:NAME is a number that rows have."""
    budgets: Literal["equal", "root", "proportional", "score_weighted", "density"] | None = None
    """How the budget is shared among clusters; null: the method's own (adapt: equal); density not for adapt_plus."""
    choose: str | None = None
    """Which score decides in a cluster: entropy, rank_average, borda, random, fixed:<scorer>; null: adapt's entropy."""
    sampling: Literal["ccs", "top", "bottom", "middle", "random"] | None = None
    """How a cluster is sampled by that score; null: the method's own way (adapt: ccs)."""
    # Any: what a selector's options take is between it and its user; the selector checks them.
    options: dict[str, Any] = {}
    """Other options of the method by name, e.g. {temperature: 0.2} for coincide; also those of your own selector."""

    @property
    def method_options(self) -> dict[str, Any]:
        """The options that are set; a method refuses an option that it does not know."""
        named = {name: getattr(self, name) for name in NAMED_OPTIONS}
        return {**{name: value for name, value in named.items() if value is not None}, **self.options}


class PruningConfig(Section):
    """Step 3: which samples are pruned from the pool."""

    cap: Literal["auto", "none"] | Annotated[int, Field(ge=1)] = "auto"
    """Samples that the pool holds after a step; auto: 4 x the budget (multitask: none); none: nothing is pruned."""
    order: Literal["greedy", "semdedup"] = "greedy"
    """Which of two similar samples is pruned, see docs/pruning.md."""
    allocation: Literal["balanced", "global"] = "balanced"
    """balanced: large clusters shrink most; global: the most similar pairs go first, wherever they are."""

    @field_validator("cap", mode="before")
    @classmethod
    def _null_is_none(cls, value: object) -> object:
        return "none" if value is None else value
