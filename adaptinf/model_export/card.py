"""The model card: README.md with the metadata that the hub reads, made from what the run has recorded.

Nothing is invented: what is not recorded is left out or called not known. No path of the user's machine goes in; texts
of the data, such as names of skills, are escaped, so that they can be no Markdown, HTML or metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from adaptinf.model_export.data_rows import DataRow, data_rows
from adaptinf.model_export.licences import Licence, licence_in
from adaptinf.model_export.method_rows import selection_rows, training_rows
from adaptinf.model_export.names import ModelName, model_name
from adaptinf.model_export.origin_rows import origin_rows
from adaptinf.model_export.request import Request, rolled_back_line
from adaptinf.model_export.skills import Measured, SkillRow, measured
from adaptinf.model_export.use import use_section
from adaptinf.results.columns import number, signed
from adaptinf.results.intervals import Interval
from adaptinf.sources.finding import README
from adaptinf.words import counted, escaped

if TYPE_CHECKING:
    from adaptinf.model_export.made import Made

TEMPLATE = "card.md"
"""The text around the tables, in this folder."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!$])")
"""Characters that mean something in Markdown."""
NOT_KNOWN = "not known"
DASH = "–"


def write_card(request: Request, made: Made, part: Path) -> None:
    """Write README.md into a folder.

    Raises:
        StoreError: an artifact of the run that the card tells about is damaged.
    """
    run, step = request.run, request.step
    rows, base = data_rows(run, step), model_name(run.settings.model.path)
    found, licence = measured(run, step), _licence_of_base(request)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    body = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8")).render(
        title=plain(request.out.name),
        introduction=_introduction(request, base, rows),
        measured=found,
        skills_table="" if found is None else _skills_table(found),
        mean_line="" if found is None else _mean_line(found),
        forgotten_line=_forgotten_line(found),
        forgotten_table="" if found is None or not found.lost else _forgotten_table(found, request),
        data_table=_data_table(rows),
        licence_line=_licence_line(licence),
        selection_table=table([("selection", ""), *selection_rows(run, step)]),
        training_table=table([("training", ""), *training_rows(run, step)]),
        use=use_section(request, made),
        origin_table=table([("", ""), *origin_rows(request, made)]),
    )
    text = f"---\n{_metadata(request, made, rows, base, licence)}\n---\n\n{body.strip()}\n"
    (part / README).write_text(text, encoding="utf-8")


def plain(text: str) -> str:
    """Return a text on one line in which no character means anything in Markdown or HTML."""
    return SPECIAL.sub(r"\\\1", escaped(" ".join(text.split())))


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of Markdown as a table; the first one is its head."""
    head, *others = [f"| {' | '.join(cell.replace(chr(10), ' ') for cell in row)} |" for row in rows]
    rule = "|" + "---|" * (head.count(" | ") + 1)
    return "\n".join([head, rule, *others])


def _introduction(request: Request, base: ModelName, rows: Sequence[DataRow]) -> str:
    kinds = {"adapter": "A LoRA adapter of", "merged": "All weights of", "whole": "All weights of"}
    merged = ", with the trained adapter merged into them" if request.form == "merged" else ""
    local = "" if base.is_on_hub else " (a local folder: put its name on the hub in its place before you publish)"
    return (
        f"{kinds[request.form]} {base.link}{local}{merged}, trained with adaptinf on a stream of "
        f"{counted(len(rows), 'dataset')}. This is the model after step {request.step}, in which "
        f"{plain(rows[-1].name)} arrived (steps count from 0). {rolled_back_line(request.run, request.step) or ''}"
    ).rstrip()


def _skills_table(found: Measured) -> str:
    head = ("skill", "metric", "test items", "first taught by", "base model", "this model", "difference in points")
    return table([head, *(_skill_cells(row) for row in found.rows)])


def _skill_cells(row: SkillRow) -> list[str]:
    return [
        plain(row.skill),
        plain(row.metric) or DASH,
        f"{row.num_items:,}",
        plain(row.introduced_by) or "known to the base",
        percent(row.before),
        with_ends(row.after, percent),
        with_ends(row.difference, points),
    ]


def percent(share: float) -> str:
    """Return a score in percent; a dash where it is not known."""
    return DASH if share != share else f"{number(100.0 * share)} %"


def points(difference: float) -> str:
    """Return a difference of scores in points, with its sign; a dash where it is not known."""
    return DASH if difference != difference else signed(100.0 * difference)


# Any: a function from a number to its text.
def with_ends(interval: Interval, text: Any) -> str:
    """Return 45.0 % (38.8 % to 52.4 %), without ends that are not known."""
    mean, low, high = interval
    return text(mean) if low != low or mean != mean else f"{text(mean)} ({text(low)} to {text(high)})"


def _mean_line(found: Measured) -> str:
    if found.mean_before != found.mean_before:
        return f"Mean over skills: {percent(found.mean_after)}."
    return (
        f"Mean over the skills that the base model was tested on: {percent(found.mean_before)} before, "
        f"{percent(found.mean_after)} now."
    )


def _forgotten_line(found: Measured | None) -> str:
    if found is None or not found.num_comparable:
        return "Not measured: no skill was tested twice since it was introduced."
    tested = f"{counted(found.num_comparable, 'skill')} tested at least twice since introduced"
    rate = found.forgetting
    mean = "" if rate.signed != rate.signed else (
        f" Forgetting rate, the mean loss from one step to the next in percent of the earlier score: "
        f"{number(rate.signed)} %, {number(rate.clipped)} % if gains count as nothing."
    )  # fmt: skip
    if not found.lost:
        return f"Nothing: of {tested}, each is at its best.{mean}"
    return f"Of {tested}, {len(found.lost)} were better after an earlier step.{mean}"


def _forgotten_table(found: Measured, request: Request) -> str:
    names = [dataset.name for dataset in request.run.config.stream]
    head = ("skill", "best", "reached after", "this model", "loss in points", "whatever the format")
    return table([
        head,
        *(
            [
                plain(row.skill),
                percent(row.best),
                "the base model" if row.best_step < 0 else f"step {row.best_step} ({plain(names[row.best_step])})",
                percent(row.after.mean),
                with_ends(row.loss, points),
                points(row.tolerant_loss),
            ]
            for row in found.lost
        ),
    ])  # fmt: skip


def _data_table(rows: Sequence[DataRow]) -> str:
    head = ("step", "dataset", "from", "samples", "rejected rows", "trained on", "with repeats", "licence")
    return table([head, *(_data_cells(number, row) for number, row in enumerate(rows))])


def _data_cells(step: int, row: DataRow) -> list[str]:
    place = (
        plain(row.place)
        if row.hub_name is None
        else f"[{row.hub_name}](https://huggingface.co/datasets/{row.hub_name})"
    )
    left = "" if row.withdrawn_from is None else f" (withdrawn from step {row.withdrawn_from} on)"
    left += f" ({row.num_excluded:,} of its samples excluded)" if row.num_excluded else ""
    return [
        str(step),
        plain(row.name) + left,
        place,
        f"{row.rows:,}",
        f"{row.rejected:,}",
        f"{row.num_trained:,}",
        f"{row.num_times:,}",
        NOT_KNOWN if row.licence is None else plain(str(row.licence)),
    ]


def _licence_line(licence: Licence | None) -> str:
    said = NOT_KNOWN if licence is None else plain(str(licence))
    return f"Licence of the base model: {said}. Whether data and base model allow a use is for its user to judge."


def _licence_of_base(request: Request) -> Licence | None:
    from adaptinf.models.files import model_folder

    folder, _ = model_folder(request.run.settings.model.path)
    return None if folder is None else licence_in(folder)


def _metadata(request: Request, made: Made, rows: Sequence[DataRow], base: ModelName, licence: Licence | None) -> str:
    """Return the metadata of the card as YAML."""
    from huggingface_hub import ModelCardData

    is_adapter = request.form == "adapter"
    # Any: keys of the hub's metadata, among them those of a licence.
    named: dict[str, Any] = {"base_model": base.name, "base_model_relation": "adapter" if is_adapter else "finetune"}
    data = ModelCardData(
        **(named if base.is_valid else {}),
        datasets=[row.hub_name for row in rows if row.hub_name is not None and row.num_trained] or None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text" if made.asking.has_vision else "text-generation",
        tags=["adaptinf", "continual-learning", "data-selection", *(["lora"] if request.form != "whole" else [])],
        **({} if licence is None else licence.metadata),
    )
    return str(data.to_yaml())
