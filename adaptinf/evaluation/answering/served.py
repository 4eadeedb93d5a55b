"""Answers of vLLM: the base model's folder with the step's adapter, or a folder with the adapter in its weights."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from adaptinf.data import Sample
from adaptinf.data.predictions import END, LENGTH
from adaptinf.errors import AdaptError, ModelError
from adaptinf.evaluation.answering.adapters import servable_rank
from adaptinf.evaluation.answering.units import Plan, Unit
from adaptinf.evaluation.engines import OTHER_ENGINE, VLLM
from adaptinf.evaluation.kept import Answer, keep_answer
from adaptinf.images import Unopened
from adaptinf.models.chat import Labelled, encode_prompts, last_prompts, prompt_text, traits_of
from adaptinf.models.decoding import Way
from adaptinf.models.files import adapter_files, model_files, model_folder
from adaptinf.models.greedy import overridden
from adaptinf.models.loading import Learner, load_reader
from adaptinf.models.memory import release
from adaptinf.models.merged import write_merged
from adaptinf.models.recipe import LearnerRecipe
from adaptinf.models.refusals import failure
from adaptinf.words import one_line, shortened

ITEMS_AT_ONCE = 256
"""Items that vLLM is given together; their answers are kept when all of them have ended."""
COMPARED = 4
"""Items of each call whose tokens are compared with those of training."""
MERGED = "merged"
"""In the unfinished folder of an evaluation: the model with its adapter in its weights."""
WAY = Way(name="vLLM")


@dataclass(frozen=True, kw_only=True)
class ServedWork:
    """Answering test items with vLLM, in this process, which starts processes of its own."""

    learner: LearnerRecipe
    """How the model to test is made."""
    items: tuple[Sample, ...]
    """N test items."""
    limits: tuple[int, ...]
    """Longest answer to each, in tokens."""
    scratch: Path
    """Folder for a merged model, which is removed afterwards."""
    answers_file: Path | None = None
    """As in `AnswerWork`."""
    on_answer: Callable[[int], None] | None = None
    """As in `AnswerWork`."""

    @contextmanager
    def open(self) -> Iterator[Server]:
        """Start vLLM.

        Raises:
            ModelError: it does not serve this model; with its words.
        """
        reader = load_reader(self.learner.model)
        merged = self.scratch / MERGED
        try:
            model, adapter, rank = self._served(merged)
            engine = _started(reader, model, rank, max((len(item.images) for item in self.items), default=0))
            try:
                yield Server(reader=reader, engine=engine, work=self, adapter=adapter)
            finally:
                _ended(engine)
        finally:
            shutil.rmtree(merged, ignore_errors=True)

    def _served(self, merged: Path) -> tuple[str, Path | None, int | None]:
        """Return the folder of the model, the adapter beside it and the room for its rank."""
        recipe = self.learner
        if recipe.continued is not None or recipe.new_adapter_seed is not None:
            raise ModelError(f"{VLLM} serves trained models only; give a recipe without an adapter under training")
        if not recipe.merged:
            return recipe.model.path, None, None
        if len(recipe.merged) == 1 and (rank := servable_rank(recipe.merged[0], recipe.model)) is not None:
            return recipe.model.path, recipe.merged[0], rank
        shutil.rmtree(merged, ignore_errors=True)  # left by a call that was killed
        write_merged(recipe, merged, base=recipe.model.path)
        return str(merged), None, None


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running vLLM, and the items that it answers."""

    reader: Learner
    """Reads conversations; it has no weights."""
    engine: Any
    """vLLM's `LLM`; Any, as the package is not always there."""
    work: ServedWork
    """The items."""
    adapter: Path | None
    """The adapter that is applied; None: none."""

    def plan(self, _: None) -> Plan:
        """Return how all items are answered: vLLM forms its batches by itself."""
        import vllm

        rows, ends = range(len(self.work.items)), sorted(traits_of(self.reader).ends)
        units = [
            Unit(tuple(part), (0,) * len(part), len(part), WAY)
            for part in (rows[start : start + ITEMS_AT_ONCE] for start in range(0, len(rows), ITEMS_AT_ONCE))
        ]
        stops_at = tuple(self.reader.tokenizer.decode([token]) for token in ends)
        version, served = str(vllm.__version__), "adapter" if self.adapter else "weights"
        return Plan(
            units=tuple(units),
            stops_at=stops_at,
            model=f"{VLLM} {version} {_identity(self.work.learner)} {stops_at} {self.reader.processor.chat_template}",
            info={"engine": VLLM, "decoding": f"vLLM {version}, {served}", "overridden": overridden(self.reader.model)},
        )

    def answer(self, unit: Unit) -> list[Answer]:
        """Return the answers to the items of a unit that are not known; all are kept on disk when all have ended."""
        rows = [row for row in unit.rows if row not in unit.known]
        prompts = last_prompts(self.reader, [self.work.items[row] for row in rows])
        usable = {row: one for row, one in zip(rows, prompts, strict=True) if isinstance(one, Labelled)}
        answers = [Answer(row, None, str(one)) for row, one in zip(rows, prompts, strict=True) if row not in usable]
        answers += self._answers_or_split(usable)
        for answer in answers:
            if self.work.answers_file is not None:
                keep_answer(self.work.answers_file, answer)
            if self.work.on_answer is not None:
                self.work.on_answer(1)
        return answers

    def _answers_or_split(self, usable: dict[int, Labelled]) -> list[Answer]:
        """Answer some items; where that fails, their halves, so that one item does not end the run."""
        if not usable:
            return []
        try:
            return self._answers(usable)
        except AdaptError:
            raise
        except Exception as error:  # whatever vLLM raises for a prompt, such as one that is too long for it
            if len(usable) == 1:
                return [Answer(next(iter(usable)), None, failure(error))]
        rows, middle = list(usable), len(usable) // 2
        halves = [{row: usable[row] for row in half} for half in (rows[:middle], rows[middle:])]
        return [answer for half in halves for answer in self._answers_or_split(half)]

    def _answers(self, usable: dict[int, Labelled]) -> list[Answer]:
        from vllm import SamplingParams

        ends = traits_of(self.reader).ends
        outputs = self.engine.generate(
            [self._prompt(row, one) for row, one in usable.items()],
            [
                # The end tokens are those of the other engine, no more and no less.
                SamplingParams(
                    temperature=0.0,
                    max_tokens=self.work.limits[row],
                    stop_token_ids=sorted(ends),
                    ignore_eos=True,
                    detokenize=False,
                )
                for row in usable
            ],
            use_tqdm=False,
            lora_request=self._adapter_request(),
        )
        answers = []
        self._compare_tokens(list(usable), outputs)
        for row, output in zip(usable, outputs, strict=True):
            tokens = list(output.outputs[0].token_ids)
            written = list(takewhile(lambda token: token not in ends, tokens))
            text = self.reader.tokenizer.decode(written, skip_special_tokens=True).strip()
            stop = END if len(written) < len(tokens) else LENGTH
            answers.append(Answer(row, text, "", prompt_text(self.reader, self.work.items[row]), stop))
        return answers

    def _adapter_request(self) -> Any:
        if self.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(lora_name="step", lora_int_id=1, lora_path=str(self.adapter))

    def _prompt(self, row: int, one: Labelled) -> dict[str, Any]:
        prompt: dict[str, Any] = {"prompt_token_ids": one.ids[: one.answers[-1].start]}
        images = list(Unopened(self.work.items[row].stored_images))
        return {**prompt, "multi_modal_data": {"image": images}} if images else prompt

    def _compare_tokens(self, rows: Sequence[int], outputs: Sequence[Any]) -> None:
        """Check that vLLM made the same tokens of images as the processor does in training.

        Raises:
            ModelError: it did not.
        """
        pictured = [number for number, row in enumerate(rows) if self.work.items[row].images][:COMPARED]
        for number in pictured:
            item = self.work.items[rows[number]]
            inputs = encode_prompts(self.reader, [item], [Unopened(item.stored_images)])
            ours, theirs = inputs["input_ids"][0].tolist(), list(outputs[number].prompt_token_ids)
            if ours != theirs:
                raise ModelError(
                    f"{VLLM} reads test item {item.id} as {len(theirs)} tokens that are not the {len(ours)} of "
                    f"training, so its answers would be to another question; {OTHER_ENGINE}"
                )


def _started(reader: Learner, model: str, rank: int | None, num_images: int) -> Any:
    """Return vLLM with a model, and with room for one adapter of a rank."""
    from vllm import LLM

    release()
    adapters = {} if rank is None else {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    images = {"limit_mm_per_prompt": {"image": max(1, num_images)}} if reader.has_vision else {}
    try:
        return LLM(
            model=model,
            dtype=reader.config.dtype,
            trust_remote_code=reader.config.trust_remote_code,
            # Nothing of generation_config.json, and the longest context that fits.
            generation_config="vllm",
            max_model_len=-1,
            seed=0,
            **adapters,
            **images,
        )
    except Exception as error:  # of any kind: a family that it does not know, too little memory, no GPU
        raise ModelError(
            f"{VLLM} does not serve {model}: {shortened(one_line(error))}; see vLLM's own messages, or {OTHER_ENGINE}"
        ) from error


def _ended(engine: Any) -> None:
    """End vLLM's processes, so that training has the GPU's memory."""
    end = getattr(getattr(getattr(engine, "llm_engine", None), "engine_core", None), "shutdown", None)
    if end is not None:
        end()
    gc.collect()
    release()


def _identity(recipe: LearnerRecipe) -> str:
    """Return names, sizes and times of all files that a model is made of, as text; nothing is loaded."""
    base, commit = model_folder(recipe.model.path)
    files = (
        [] if base is None else [base / name for name in model_files(base, runs_code=recipe.model.trust_remote_code)]
    )
    files += [folder / name for folder in recipe.merged for name in adapter_files(folder)]
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return " ".join([recipe.model.model_dump_json(), str(commit), *stamps])
