"""The sections of stream.yaml; the line under each field is its help, and its comment in a written config.yaml."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from adaptinf.images import LARGEST_LIMIT, MAX_PIXELS
from adaptinf.outside import seconds_of

MAX_ROW_BYTES = 64 * 2**20
"""Bytes of a row that is read, unless another limit is set."""
NAMED_OPTIONS = ("budgets", "choose", "sampling")
"""Options of methods that have a key of their own under `selection:`; the others stand under `options:`."""

TokenSet = Literal["all_but_first", "text", "question", "answer"]
"""Tokens that a hidden state is averaged over."""


class Section(BaseModel):
    """A part of the configuration: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def _duration(value: str | None) -> str | None:
    """Return a duration such as 30m as it is.

    Raises:
        ValueError: it is none.
    """
    if value is not None:
        seconds_of(value)
    return value


def _day(value: object) -> str:
    """Return a day, which YAML reads as a date unless it is in quotes, as text; `auto` stays.

    Raises:
        ValueError: it is neither.
    """
    try:
        return "auto" if value == "auto" else date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise ValueError("must be auto or a day such as 2026-11-28") from error


class LoraConfig(Section):
    """The adapter that training uses; gradient vectors are gradients of its weights."""

    rank: int = Field(default=128, ge=1)
    """Rank of the two factors."""
    alpha: float = Field(default=256, gt=0)
    """Scale: the adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input during training; extraction runs without dropout."""
    target_modules: list[str] | None = None
    """Names of the linear layers in the decoder blocks to adapt; null: all of them."""
    exclude_modules: list[str] | None = None
    """Names of linear layers, and of fused experts' weights, that get no adapter; null: none is left out."""
    experts: bool = False
    """Adapt the weights of fused experts too, each expert with its own factors; routers get no adapter."""
    vision: bool = False
    """Adapt the linear layers of the vision tower too, in training; vectors stay those of the decoder blocks."""
    rslora: bool = False
    """Rank-stabilised: the adapter's output is multiplied by alpha / sqrt(rank)."""
    dora: bool = False
    """DoRA: the adapter changes directions, and a vector of magnitudes is trained beside it."""
    pissa: bool = False
    """PiSSA: the factors begin as the largest singular values of each weight, the rest of which stays frozen."""

    @model_validator(mode="after")
    def _kinds_fit(self) -> LoraConfig:
        for is_set, pair, why in (
            (self.experts and self.dora, "experts: true and dora: true", "PEFT has no DoRA for fused experts"),
            (self.experts and self.pissa, "experts: true and pissa: true", "PEFT has no PiSSA for fused experts"),
            (self.experts and self.dropout > 0, "experts: true and dropout", "PEFT has no dropout for fused experts"),
            (self.dora and self.pissa, "dora: true and pissa: true", "its magnitudes would be of weights that move"),
        ):
            if is_set:
                raise ValueError(f"{pair} do not go together: {why}; set one of them")
        return self


class ModelConfig(Section):
    """The model that keeps learning."""

    path: str = ""
    """Folder or hub name of a Hugging Face vision-language or text-only model."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights in memory; auto: bfloat16 on a GPU that has it, float32 on a CPU."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed; auto: as transformers chooses; what the model does not support is refused."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Weights of linear layers in memory: as `dtype` says, or 8 bits or 4 (nf4) by bitsandbytes, under an adapter."""
    adapter: str | None = None
    """Folder of a LoRA adapter of this model (PEFT) to go on from; null: none. Its rank, alpha and dropout are used."""
    lora: LoraConfig = LoraConfig()
    """The adapter."""
    projector: Literal["frozen", "trained"] = "frozen"
    """Whether the layer between vision tower and language model is trained (and kept with the adapter)."""
    max_length: int = Field(default=2048, ge=8)
    """Tokens of one sample, images included; longer text is cut on the right, never through an image."""
    date: Annotated[str, BeforeValidator(_day)] = "auto"
    """Day (2026-11-28) that chat templates write which write today's; auto: that of the first step, for all steps."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model folder. Only for sources you trust."""
    device: str = "auto"
    """auto: the GPU if there is one; or cpu, cuda, cuda:1, mps."""

    @model_validator(mode="after")
    def _quantised_weights_are_frozen(self) -> ModelConfig:
        if self.quantization != "none":
            for is_set, name in (
                (self.lora.pissa, "lora.pissa: true"),
                (self.projector == "trained", "projector: trained"),
            ):
                if is_set:
                    raise ValueError(
                        f"quantization: {self.quantization} and {name} do not go together: the weights that would "
                        "change are quantised; set one of them"
                    )
        return self


class DataConfig(Section):
    """How datasets are read."""

    on_bad_row: Literal["reject", "stop"] = "reject"
    """reject: record a bad row in rejected.jsonl and continue; stop: end with an error at the first bad row."""
    images: Literal["reference", "copy"] = "reference"
    """reference: the pool keeps paths to your images; copy: the pool keeps its own copies."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=LARGEST_LIMIT)
    """Width times height of the largest image that is read; a larger JPEG is decoded smaller, others are rejected."""
    max_row_bytes: int = Field(default=MAX_ROW_BYTES, ge=1)
    """Bytes of the largest row that is read, images in it included (its text: 4 MB); larger ones are rejected."""


class ColumnsConfig(Section):
    """The columns of a question and its answer, for rows in no known format; or other columns of a format."""

    question: str | None = None
    """Column of the question; without `<image>` tags in it, the images stand before its first word; null, as `answer`:
    the rows are in a format, in which the columns named here stand for image, id or system."""
    answer: str | None = None
    """Column of the answer."""
    image: str | None = None
    """Column of the image, or of a list of images; null: rows have none, or where their format has it."""
    id: str | None = None
    """Column of the id; null: id, uid or question_id."""
    system: str | None = None
    """Column of the system prompt; null: system or system_prompt."""

    @property
    def named(self) -> dict[str, str]:
        """What is named -> the column."""
        return {part: column for part, column in self.model_dump().items() if column is not None}

    @model_validator(mode="after")
    def _names_both_or_others(self) -> ColumnsConfig:
        if not self.named or (self.question is None) != (self.answer is None):
            raise ValueError(
                "columns names question and answer, or of image, id and system what a format calls otherwise"
            )
        return self

    @model_validator(mode="after")
    def _names_a_column_once(self) -> ColumnsConfig:
        repeated = [column for column, count in Counter(self.named.values()).items() if count > 1]
        if repeated:
            raise ValueError(f"columns names {repeated[0]!r} twice")
        return self


class SourceConfig(Section):
    """Where rows come from: the keys that datasets of the stream and tests of a skill have in common."""

    path: str
    """File, folder, pattern such as data/*.parquet, address that fsspec opens (s3://...), or name on the hub."""
    subset: str | None = None
    """Which configuration of a hub dataset, subfolder, or entry of a dataset_info.json; null: the only one."""
    split: str | None = None
    """Which split, such as train; null: the only one."""
    max_rows: int | None = Field(default=None, ge=1)
    """Rows that are taken at random, the same ones for the same seed; null: all."""
    images: str | list[str] | None = None
    """Folder that image paths are relative to, or a list of such folders; null: the folder of the file."""
    format: str | None = None
    """Name of the format (`adaptinf list`); null: detected."""
    columns: ColumnsConfig | None = None
    """Columns of a question and its answer, for rows in no known format: {question: q, answer: a}; or other names for
    columns of a format: {image: picture}; null: a format."""

    @model_validator(mode="after")
    def _has_columns_or_a_format(self) -> SourceConfig:
        if self.columns and self.format:
            raise ValueError(f"columns and format: {self.format} are both given; keep one of them")
        return self

    @field_validator("images")
    @classmethod
    def _names_folders(cls, images: str | list[str] | None) -> str | list[str] | None:
        if images == []:
            raise ValueError("must name at least one folder; leave it out for the folder of the file")
        # One folder has one spelling, so that a list of it is no change of settings.
        return images[0] if isinstance(images, list) and len(images) == 1 else images

    @property
    def image_folders(self) -> tuple[str, ...]:
        """The folders under `images`; none where it is left out."""
        return () if self.images is None else folder_list(self.images)


def folder_list(images: str | list[str]) -> tuple[str, ...]:
    """Return one folder, or a list of folders, as a tuple."""
    return (images,) if isinstance(images, str) else tuple(images)


class DatasetConfig(SourceConfig):
    """One dataset of the stream."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Short name, the first part of its samples' ids."""
    allow_broken: bool = False
    """Take the rows before the break of a file that cannot be read to its end; false: such a file is refused."""

    @field_validator("name")
    @classmethod
    def _is_no_unfinished_folder(cls, name: str) -> str:
        if name.endswith(".part"):
            raise ValueError("must not end with .part, which marks unfinished folders")
        return name


class ExtractionConfig(Section):
    """What is measured on every sample of the pool at every step."""

    layers: Literal["first", "middle", "last"] | int | list[int] = "middle"
    """Decoder block (or blocks, 0-based) that vectors are taken from."""
    dim: int = Field(default=8192, ge=8)
    """Length of a sketched gradient, at most that of a fisher vector; hidden vectors do not use it."""
    vector: Literal["auto", "gradient", "fisher", "hidden", "zeroth_order"] = "auto"
    """Kind of vector, see docs/extraction.md; auto: what the method needs (adapt: the sketched gradient)."""
    vector_tokens: TokenSet = "answer"
    """Tokens that a `hidden` vector is the mean of."""
    probes: int = Field(default=32, ge=1)
    """Numbers in a `zeroth_order` vector; each costs two passes through the upper blocks."""
    image: Literal["auto", "removed", "blank", "unmeasured"] = "auto"
    """What image grounding compares with: images removed or blank; unmeasured: none; auto: what the method needs."""
    batch_tokens: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Tokens in one batch, padding included; auto: what fits on a GPU, found by trying; 4096 on a CPU."""
    model: str | None = None
    """A smaller proxy model that is measured instead of the trained model; null: the model itself."""
    keep: Literal["last", "all"] = "last"
    """last: vectors and embeddings of older steps are removed, their scores stay; all: everything stays."""
    embedding_tokens: TokenSet = "all_but_first"
    """Tokens that the embedding is the mean of."""


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


class TrainingConfig(Section):
    """Training on the selected samples."""

    tune: Literal["lora", "full"] = "lora"
    """lora: an adapter on the language model; full: all weights of language model and projector (very small models)."""
    adapter: Literal["continue", "merge"] = "continue"
    """continue: one adapter is trained over all steps; merge: each step merges its adapter and starts a new one."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the selected samples."""
    learning_rate: float = Field(default=2.0e-4, gt=0)
    """Peak learning rate."""
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    """Share of the optimiser steps before the peak; the first of w such steps has 1 / (w + 1) of the peak."""
    lr_scheduler: str = "cosine"
    """How the learning rate falls after the peak: cosine, linear, constant_with_warmup, ..., as transformers has it."""
    optimizer: str = "adamw_torch_fused"
    """Optimiser, by the names that TrainingArguments has for `optim`: adamw_torch, adafactor, adamw_bnb_8bit, ..."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of all weights but biases and norms."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm; 0: they are not clipped."""
    batch_size: int = Field(default=128, ge=1)
    """Samples per optimiser step."""
    micro_batch_size: int = Field(default=8, ge=1)
    """Samples on the device at once, at most: the largest divisor of batch_size up to here; the rest is accumulated."""
    gradient_checkpointing: bool = False
    """Recompute activations: about a third more time for much less memory."""
    report_to: list[str] = []
    """Loggers of the Trainer: tensorboard, wandb, trackio, ... (metrics.jsonl is always written)."""
    # Any: what each field takes is between transformers and its user; a trial before the run checks them.
    arguments: dict[str, Any] = {}
    """Any other field of transformers' TrainingArguments, e.g. {adam_beta2: 0.95}; those with a setting are refused."""
    command: str | None = None
    """Your own trainer in place of the built-in one, with placeholders such as {data}; see docs/trainers.md."""
    format: str = "sharegpt"
    """Format of the data file that the command reads (`adaptinf list`)."""
    timeout: Annotated[str | None, AfterValidator(_duration)] = None
    """Longest time of one run of the command, such as 90m or 12h; null: as long as it takes."""


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


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


HARNESS_KEYS = ("command", "reads", "count", "scale", "timeout")
"""Keys of a skill that a command tests; the others but `skill` and `introduced_at` are of skills with items."""


class SkillConfig(SourceConfig):
    """One skill to test after every step: by items of a file, or by a command, such as a harness."""

    path: str = ""
    """File, folder, pattern, address or hub name of items, whose last assistant turn is the right answer."""
    skill: str = Field(min_length=1)
    """Name of the skill, the same as in the data if the data name skills."""
    metric: str = "exact"
    """Name of the metric (`adaptinf list`)."""
    boxes: Literal["pixels", "unit", "0-999", "0-1000"] | None = None
    """Unit of boxes (iou): pixels of the image, 0 to 1, or 0 to 999 or 1000; null: any, if answers and predictions
    have the same one."""
    options: dict[str, Any] = {}
    """Other options of the metric (docs/metrics.md): `{tolerance: 0.1}`."""
    introduced_at: Annotated[str, BeforeValidator(_as_text)] | None = None
    """Dataset (or its number) that first teaches the skill; `base`: known before; null: found in the data's skills."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer in tokens."""
    command: str | None = None
    """Instead of `path`: a command that tests the model, with placeholders such as {merged}; see docs/harness.md."""
    reads: str | None = None
    """What the command leaves in {output}: lmms_eval, lmms_eval:TASK/METRIC, or json:KEY, such as json:scores.all."""
    count: str | None = None
    """With `reads: json:KEY`, the key of the number of items; null: unknown."""
    scale: float | None = Field(default=None, gt=0)
    """Largest value that the score of a command can have, such as 100 for percent; null: 1."""
    timeout: Annotated[str | None, AfterValidator(_duration)] = None
    """Longest time of one run of the command, such as 30m or 12h; null: as long as it takes."""

    @property
    def foreign_keys(self) -> frozenset[str]:
        """Keys that have no meaning for this skill: those of the other way to test one."""
        own = {"skill", "introduced_at", *(HARNESS_KEYS if self.command is not None else ())}
        return frozenset(HARNESS_KEYS) if self.command is None else frozenset(type(self).model_fields) - own

    @model_validator(mode="after")
    def _is_tested_in_one_way(self) -> SkillConfig:
        fields = type(self).model_fields
        strange = [key for key in fields if key in self.foreign_keys and getattr(self, key) != fields[key].default]
        if self.command is None and not self.path:
            raise ValueError("needs path (a file of items) or command (of a harness)")
        if strange and self.command is None:
            raise ValueError(f"{', '.join(strange)}: for a skill that a command tests, but there is no command")
        if strange:
            raise ValueError(f"{', '.join(strange)}: for a skill with items, but command is given; keep one of both")
        if self.command is not None and self.reads is None:
            raise ValueError("command needs reads: lmms_eval, lmms_eval:TASK/METRIC or json:KEY")
        return self

    @property
    def metric_options(self) -> dict[str, Any]:
        """All options of the metric that are set."""
        return {**({} if self.boxes is None else {"boxes": self.boxes}), **self.options}

    @property
    def metric_text(self) -> str:
        """The metric and its options as text, such as "iou boxes=unit": scores of the same text mean the same."""
        return " ".join([self.metric, *(f"{name}={value}" for name, value in sorted(self.metric_options.items()))])

    @model_validator(mode="after")
    def _sets_boxes_once(self) -> SkillConfig:
        if self.boxes is not None and "boxes" in self.options:
            raise ValueError("boxes and options: {boxes: ...} are both given; keep boxes")
        return self


class RayConfig(Section):
    """The Ray cluster of `executor: ray`."""

    address: str | None = None
    """host:port of its head node, or auto for the one that this machine belongs to; null: a new one on this machine."""
    gpus_per_worker: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """GPUs of a worker; auto: 1, or 0 where the cluster has none."""
    cpus_per_worker: float = Field(default=1, gt=0)
    """CPUs that Ray counts for a worker."""


class MadeBy(Section):
    """What wrote this file: version, commit and time."""

    version: str
    """Version of adaptinf."""
    git_sha: str | None = None
    """Commit of the package's working tree, if any."""
    utc_time: str
    """When it was written."""
    resolved: bool = False
    """Whether every `auto` is answered and every option of the method is listed, as in steps/config.yaml."""


class RunConfig(Section):
    """The whole of stream.yaml."""

    model: ModelConfig = ModelConfig()
    """The model that keeps learning."""
    data: DataConfig = DataConfig()
    """How datasets are read."""
    stream: list[DatasetConfig] = []
    """The datasets, in the order they arrive."""
    extraction: ExtractionConfig = ExtractionConfig()
    """What is measured on every sample."""
    clustering: ClusteringConfig = ClusteringConfig()
    """Step 1."""
    selection: SelectionConfig = SelectionConfig()
    """Step 2."""
    training: TrainingConfig = TrainingConfig()
    """Training on the selected samples."""
    pruning: PruningConfig = PruningConfig()
    """Step 3."""
    evaluation: list[SkillConfig] = []
    """Skills to test after every step."""
    evaluation_engine: Literal["hf", "vllm"] = "hf"
    """What answers the tests: transformers, or vLLM (pip install 'adaptinf[vllm]'); fixed by the first evaluation."""
    plugins: list[str] = []
    """Python files with scorers, selectors, formats, metrics or executors of your own."""
    executor: str = "local"
    """Where extraction, clustering and evaluation are worked on (`adaptinf list`); local: in this process."""
    commands_folder: str | None = None
    """Folder that outside commands start in; null: that of this file, which a run writes here."""
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Workers of the executor, each with a model of its own; auto: one per GPU, on CPUs 1. local has no workers."""
    worker_timeout: Annotated[str | None, AfterValidator(_duration)] = "30m"
    """A worker that is silent for so long (45s, 30m, 12h) is ended, another does its shard; null: never."""
    ray: RayConfig = RayConfig()
    """The cluster of `executor: ray`."""
    seed: int = Field(default=0, ge=0)
    """The same seed on the same machine gives the same run."""
    made_by: MadeBy | None = None
    """Written by the program."""

    @property
    def worker_timeout_seconds(self) -> float | None:
        """The seconds in `worker_timeout`."""
        return None if self.worker_timeout is None else seconds_of(self.worker_timeout)

    @model_validator(mode="after")
    def _quantised_weights_are_frozen(self) -> RunConfig:
        kind, training = self.model.quantization, self.training
        if kind != "none" and training.tune == "full":
            raise ValueError(f"training.tune: full changes weights that model.quantization: {kind} freezes; set one")
        if kind != "none" and training.adapter == "merge":
            raise ValueError(
                f"training.adapter: merge adds adapters to weights, and model.quantization: {kind} would round most of "
                "them away; set training.adapter: continue"
            )
        if self.model.lora.pissa and training.command is not None:
            raise ValueError(
                "model.lora.pissa: true is of the built-in trainer; leave training.command out, or set false"
            )
        return self

    @model_validator(mode="after")
    def _slopes_are_of_plain_adapters(self) -> RunConfig:
        lora = self.model.lora
        kind = "experts" if lora.experts else "dora" if lora.dora else None
        if self.extraction.vector == "zeroth_order" and kind is not None:
            raise ValueError(
                f"extraction.vector: zeroth_order moves the factors of plain adapters, not those of model.lora.{kind}; "
                "choose another vector"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> RunConfig:
        for key, names in (
            ("stream: name", [dataset.name for dataset in self.stream]),
            ("evaluation: skill", [skill.skill for skill in self.evaluation]),
        ):
            twice = sorted(name for name, count in Counter(names).items() if count > 1)
            if twice:
                raise ValueError(f"{key} {twice[0]!r} is used twice; names must differ")
        return self
