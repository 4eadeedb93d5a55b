"""Counts, durations and sizes in words."""

from __future__ import annotations

import pytest

from adaptinf.words import counted, format_bytes, format_seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (8.44, "8.4 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 00 min"),
        (18120, "5 h 02 min"),
    ],
)
def test_durations_are_said_in_words(seconds, words):
    assert format_seconds(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (19_500_000, "19.5 MB"), (2.1e9, "2.1 GB"), (5e13, "50.0 TB")]
)
def test_sizes_are_said_in_words(count, words):
    assert format_bytes(count) == words


def test_one_of_a_thing_is_not_several() -> None:
    assert [counted(count, "row") for count in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
