"""The page as HTML: a jinja2 template with autoescape; plotly and our own script are inlined, nothing is fetched.

Data reach the page in two ways only: as text through autoescape, and as JSON that cannot end its script element. The
content security policy lists the hashes of the two scripts, so no other code can run, whatever the data contain.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

import adaptinf
from adaptinf.report.answer import Answer
from adaptinf.report.facts import RunFacts
from adaptinf.report.figures import Figure
from adaptinf.report.lost import LostTable
from adaptinf.report.retention import Retention
from adaptinf.report.skills import NO_SKILLS, HeatMap, by_group
from adaptinf.report.table import SummaryTable
from adaptinf.report.thumbnails import MAX_BYTES, Album
from adaptinf.results.columns import COLUMNS, READING, seeds_note
from adaptinf.storage import store
from adaptinf.words import page_text

SCRIPTS = ("data.js", "charts.js", "samples.js", "cards.js", "start.js")
"""Files of our own script, in order."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the template needs."""

    facts: Sequence[RunFacts]
    """All runs, in order."""
    subject: Sequence[RunFacts]
    """The runs that the first screen is about."""
    detailed: Sequence[RunFacts]
    """The runs that the sections about single runs can show."""
    answers: Sequence[Answer]
    """Answers on the first screen."""
    table: SummaryTable
    """One line per method."""
    heat_maps: Sequence[tuple[str, HeatMap | None]]
    """Label and skill matrix of each run."""
    lost: Sequence[tuple[str, LostTable]]
    """Label and losses of each run."""
    retention: Sequence[Retention]
    """One curve per skill."""
    figures: Sequence[Figure]
    """The tables that the page draws."""
    album: Album
    """Its images."""

    @property
    def has_breaks(self) -> bool:
        """Whether a skill of any run was tested with other items at some step."""
        return any(row.breaks for _, found in self.heat_maps if found is not None for row in found.rows)

    @property
    def has_rejected(self) -> bool:
        """Whether a step of any run does not count."""
        return any(found.rejected for _, found in self.heat_maps if found is not None)

    @property
    def has_ages(self) -> bool:
        """Whether a step of any run may have carried measurements over."""
        return any(figure.key == "ages" and figure.rows for figure in self.figures)


def _cut_off_notes(page: Page) -> list[str]:
    """Return a line for each run with skills of which many answers were cut off."""
    lines = []
    for fact in page.detailed:
        much = [f"{skill} {100 * stops.share:.0f} %" for skill, stops in fact.stops.items() if stops.is_much]
        if much:
            lines.append(
                f"{fact.label}: answers that were cut off at max_new_tokens: {', '.join(much)}. Their scores may say "
                "more of that limit than of the model."
            )
    return lines


def rendered(page: Page) -> str:
    """Return the whole page as HTML."""
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_asset),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    # NaN is not valid JSON in a browser. Characters outside ASCII are kept, which is shorter and readable.
    environment.policies["json.dumps_kwargs"] = {
        "allow_nan": False,
        "ensure_ascii": False,
        "separators": (",", ":"),
    }
    environment.filters["unbroken"] = unbroken
    plotly, script = _plotly(), _script()
    return environment.get_template("page.html.jinja").render(
        page=page,
        groups=list(by_group(page.facts)),
        columns=COLUMNS,
        reading=READING,
        seeds_note=seeds_note(min(map(len, by_group(page.facts).values()), default=0)),
        no_skills=NO_SKILLS,
        notes=_notes(page),
        data=_data(page),
        style=Markup(_asset("page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        script_hashes=" ".join(f"'sha256-{_hash(text)}'" for text in (plotly, script)),
        version=adaptinf.__version__,
        utc_time=store.utc_now(),
    )


def _finalized(value: Any) -> Any:
    """Return what an expression of the template gave, as a page can hold it; markup is ours and stays."""
    return page_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def unbroken(text: str) -> str:
    """Return a text in which numbers and units are joined by non-breaking spaces."""
    return re.sub(r"(?<=\d) (?=%|(?:s|min|h|points?|[KMGT]?B)\b)", "\u00a0", text)


def _asset(name: str) -> str:
    return files("adaptinf.report").joinpath("page", name).read_text(encoding="utf-8")


def _script() -> str:
    """Return our own script: its files are parts of one function, so that no name is global."""
    return '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"


def _plotly() -> str:
    """Return plotly.js of the installed plotly package; newlines as in a browser, for the hash."""
    text = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    assert "</script" not in text.lower(), f"plotly {version('plotly')} cannot be inlined"
    return text.replace("\r\n", "\n")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _data(page: Page) -> dict[str, Any]:
    return {
        "runs": [page_text(fact.label) for fact in page.detailed],
        "groups": list(map(page_text, by_group(page.facts))),
        "figures": {figure.key: figure.plain() for figure in page.figures},
        "images": page.album.uris,
    }


def _notes(page: Page) -> list[str]:
    """Return the notes at the top: what the page as a whole does not show."""
    shown = {fact.label for fact in page.detailed}
    hidden = [fact.label for fact in page.facts if fact.label not in shown]
    waiting = [
        f"{fact.label} {fact.run.num_finished} of {len(fact.run.config.stream)}"
        for fact in page.facts
        if fact.run.num_finished < len(fact.run.config.stream)
    ]
    found = [f"{fact.label}: {line}" for fact in page.facts for line in fact.changes]
    found += [f"{fact.label}: {line}." for fact in page.facts for line in fact.gate_notes]
    found += _cut_off_notes(page)
    if waiting:
        found.append(f"Not all steps are finished: {', '.join(waiting)}. The page shows the results so far.")
    if hidden:
        found.append(f"Single samples are shown for one run per method, not for {', '.join(hidden)}.")
    if page.album.num_unreadable:
        found.append(f"{page.album.num_unreadable:,} images are missing or damaged and are not shown.")
    if page.album.num_left_out:
        found.append(
            f"{page.album.num_left_out:,} images are not shown, because the page is limited to "
            f"{MAX_BYTES / 1e6:.0f} MB of them."
        )
    return found
