"""Which format the rows of a file are in: of those that recognise a row, the one with most keys of its own in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from adaptinf.config.schema import ColumnsConfig
from adaptinf.errors import ConfigError, DataError
from adaptinf.formats.answered import AnsweredRows
from adaptinf.formats.conversation import Conversation, Parser
from adaptinf.formats.dataset_info import Described, described, formatting_of
from adaptinf.formats.own_columns import OwnColumns
from adaptinf.formats.plain import PlainShape, shape_of
from adaptinf.formats.reasons import BadRow, shown_keys
from adaptinf.formats.renamed import Renamed, renamed
from adaptinf.registry import dataset_format

# Any in this module: a value from a file can be of any JSON type.

ROWS_TO_SNIFF = 100
"""Rows that the format is found from; some datasets begin with rows of another kind."""
MAX_MESSAGE = 200
"""Characters of a message that refuses a file."""

_SHOWN_NAME = 40


@dataclass(frozen=True, kw_only=True)
class Detected:
    """The format of most rows of a file; a row that is in another one is read in that, with a note."""

    name: str
    """Name of the format."""
    main: Parser
    """The format."""

    @property
    def plain(self) -> PlainShape | None:
        """How plain rows look in the format of most rows, which is tried first."""
        return shape_of(self.main)

    def sniff(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row looks like the format of most rows."""
        return self.main.sniff(row)

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """Return the row's conversation, in whichever format it is.

        Raises:
            BadRow: neither the format of most rows nor another one reads it.
        """
        try:
            return self.main.parse(row)
        except BadRow:
            others = [name for name in claims(row) if name != self.name]
            if len(others) != 1 or self.main.sniff(row):
                raise
        found: Conversation = dataset_format[others[0]]().parse(row)
        return replace(found, notes=(*found.notes, f"row is in the format {others[0]}, not in {self.name} as others"))


def parser_of(
    file_name: str,
    head: Sequence[Any],
    *,
    format: str | None = None,
    columns: Mapping[str, str] | ColumnsConfig | None = None,
    description: Mapping[str, Any] | None = None,
) -> Parser:
    """Return what reads the rows of a file: the columns or the format that are named, else what `detect` finds.

    Columns without a question and an answer are other names for those of the format that is found.

    A format that is named is read as `description` says, where that describes this format.

    Raises:
        DataError: as `detect`; no row of `head`, the first rows, has one of the columns.
        ConfigError: there is no such format, or columns are named as well.
    """
    if columns is not None:
        if format:
            raise ConfigError(f"columns and format: {format} are both given; keep one of them")
        own = OwnColumns.named(columns)
        own.check(file_name, head)
        if own.columns.question is not None:
            return own
        rows = [renamed(row, own.columns) if isinstance(row, Mapping) else row for row in head]
        return Renamed(parser=detect(file_name, rows, description), columns=own.columns)
    if format and not (description and format == formatting_of(description)):
        parser: Parser = dataset_format[format]()
        return parser
    return detect(file_name, head, description)


def name_of(parser: Parser) -> str:
    """Return what a parser is called: its format, or what names its columns."""
    if isinstance(parser, AnsweredRows):
        return name_of(parser.parser)
    if isinstance(parser, Detected):
        return parser.name
    if isinstance(parser, Described | OwnColumns | Renamed):
        return parser.called
    return next((name for name in dataset_format.names() if type(parser) is dataset_format[name]), "")


def detect(file_name: str, rows: Iterable[Any], description: Mapping[str, Any] | None = None) -> Parser:
    """Return the format that most of the first ROWS_TO_SNIFF rows are in; rows that are no objects say nothing.

    `description`, the dataset's entry of a dataset_info.json, decides alone where there is one.

    Raises:
        DataError: several formats claim rows with equally many keys of their own and none is sure, or no format does.
    """
    if description is not None:
        return described(file_name, description)
    sure: Counter[str] = Counter()
    tied: list[str] = []
    first: Mapping[str, Any] | None = None
    for row, _ in zip(rows, range(ROWS_TO_SNIFF), strict=False):
        if isinstance(row, Mapping):
            first = row if first is None else first
            claimed = claims(row)
            sure.update(claimed if len(claimed) == 1 else ())
            tied = tied or (claimed if len(claimed) > 1 else [])
    if sure:
        name = sure.most_common(1)[0][0]
        return Detected(name=name, main=dataset_format[name]())
    if tied:
        raise DataError(f"{file_name} could be in the format {' or '.join(tied)}; set format: to one of them")
    if first is not None:
        raise DataError(_unknown(file_name, first))
    # No row is an object: every row is rejected, whatever the format.
    name = dataset_format.names()[0]
    return Detected(name=name, main=dataset_format[name]())


def claims(row: Mapping[str, Any]) -> list[str]:
    """Return the names of the formats that recognise a row with most keys of their own: one, or several that tie.

    A plug-in without `own_keys` ties with every other format that recognises the row.
    """
    plugins = {name: dataset_format[name]() for name in dataset_format.names()}
    keys = {name: _own_keys(plugin, row) for name, plugin in plugins.items() if plugin.sniff(row)}
    most = max((len(own) for own in keys.values() if own is not None), default=0)
    return [name for name, own in keys.items() if own is None or len(own) == most]


def _own_keys(plugin: Parser, row: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the keys of a row that are the format's own; None where the plug-in does not say."""
    own_keys = getattr(plugin, "own_keys", None)
    return list(own_keys(row)) if callable(own_keys) else None


def _unknown(file_name: str, row: Mapping[str, Any]) -> str:
    """Return the message for rows that no format recognises; a file's path is shortened to its name to save room."""
    keys = f"its first row has {_described(row)}"
    message = f"{file_name} has no known format: {keys}; set columns: {{question: ..., answer: ...}}; known formats: "
    names = ", ".join(dataset_format.names())
    if len(message) + len(names) > MAX_MESSAGE:
        message = message.replace(file_name, PurePath(file_name).name[-_SHOWN_NAME:], 1)
    room = MAX_MESSAGE - len(message)
    return message + (names if len(names) <= room else names[: max(room - len("..."), 0)] + "...")


def _described(row: Mapping[str, Any]) -> str:
    """Return the keys of a row; with a list of objects also the keys of its first one."""
    lists = {key: value[0] for key, value in row.items() if isinstance(value, list) and value}
    inner = {key: f": [{{{shown_keys(item)}}}]" for key, item in lists.items() if isinstance(item, dict)}
    return shown_keys(f"{key}{inner.get(key, '')}" for key in row)
