"""Lines of a log: each holds a checksum of itself; lines without one are taken as they are."""

from __future__ import annotations

import json
import random

import pytest

from adaptinf.storage import lines, store

RECORD = {"time": "2026-01-02T03:04:05+00:00", "id": "one/ä→\u2028", "step": 3, "value": float("nan")}


def test_a_record_comes_back_without_its_checksum():
    line = lines.sealed(RECORD)
    assert list(json.loads(line))[-1] == lines.KEY
    assert lines.opened(line) == {**RECORD, "value": None}


@pytest.mark.parametrize("line", ['{"id": "a"}', '{"id": "a", "step": 2}', '{"xxh3": 1}', "{}"])
def test_lines_without_a_checksum_are_taken_as_they_are(line):
    assert lines.opened(line) == json.loads(line)


@pytest.mark.parametrize(("line", "what"), [("{", "no JSON"), ("", "no JSON"), ("[1]", "no JSON object"), ("3", "obj")])
def test_what_is_no_record_is_refused(line, what):
    with pytest.raises(ValueError, match=what):
        lines.opened(line)


def test_every_flipped_bit_of_a_line_is_found():
    data = lines.sealed(RECORD).encode()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"damaged|no JSON"):
                lines.opened(flipped.decode("utf-8", "replace"))


def test_every_cut_of_a_line_is_found():
    line = lines.sealed(RECORD)
    for length in range(len(line)):
        with pytest.raises(ValueError, match=r"damaged|no JSON"):
            lines.opened(line[:length])


def test_a_changed_byte_of_a_log_costs_its_line_only(tmp_path):
    log, rng = tmp_path / "log.jsonl", random.Random(0)
    for step in range(4):
        store.append_line(log, {"step": step, "text": "abc"})
    whole, data = store.read_lines(log), log.read_bytes()
    for _ in range(200):
        place = rng.randrange(len(data) - 1)
        log.write_bytes(data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :])
        found = store.read_lines(log)
        assert len(whole) - 2 <= len(found) < len(whole) and all(record in whole for record in found)
