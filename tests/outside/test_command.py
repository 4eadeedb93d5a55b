"""The text of an outside command becomes words, without a shell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptinf.errors import ConfigError
from adaptinf.outside import Command, seconds_of

KNOWN = ("model", "adapter", "output")


def parse(text: str) -> Command:
    return Command.parse(text, place="evaluation of pope: command", known=KNOWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run --model_args pretrained={model},dtype=auto", ["run", "--model_args", "pretrained=M,dtype=auto"]),
        ("run '{model}' \"{output}/x y\"", ["run", "M", "O O/x y"]),
        ("run --adapter={adapter} {adapter} end", ["run", "--adapter=", "", "end"]),
        ("run '{{\"a\": 1}}'", ["run", '{"a": 1}']),
        ("run \\\n  --tasks pope \\\n  {output}", ["run", "--tasks", "pope", "O O"]),
        ("bash -c 'a | b > $HOME/c; d && e'", ["bash", "-c", "a | b > $HOME/c; d && e"]),
        ("run 'a\\\nb'", ["run", "a\\\nb"]),
        ("run --tasks mmmu_* a;b x=~/y", ["run", "--tasks", "mmmu_*", "a;b", "x=~/y"]),
    ],
)
def test_words_are_split_first_and_then_filled(text, words):
    assert parse(text).filled({"model": "M", "adapter": "", "output": "O O"}) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no program"),
        ("'' a", "names no program"),
        ("run 'a", "No closing quotation"),
        ("run {modle}", r"{modle} is no placeholder; known: {model}, {adapter}, {output}"),
        ("run {}", "is no placeholder"),
        ("run {", "are no placeholder"),
        ("run '{\"a\": 1}'", "write {{ and }} for braces"),
        ("run {model!r}", "are no placeholder"),
        ("a | b", "'|' means something to a shell only"),
        ("a && b", "'&&' means"),
        ("a > log", "'>' means"),
        ("a 2>&1", "'2>&1' means"),
        ("a; b", "';' means"),
        ("a $HOME/x", "'$H' means"),
        ("a ~/x", "'~' means"),
        ("a `b`", "'`' means"),
        ("CUDA_VISIBLE_DEVICES=0 a", "write env CUDA_VISIBLE_DEVICES=0"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_way_out(text, message):
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert message in str(error.value)
    assert str(error.value).startswith("evaluation of pope: command")
    assert "\n" not in str(error.value)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_value_never_becomes_several_words(value):
    assert parse("run {model} -x={model}.").filled({"model": value}) == ["run", value, f"-x={value}."]


def test_placeholders_are_known_before_they_are_filled():
    assert parse("run {model} {{output}}").placeholders == {"model"}


def test_a_program_that_is_missing_is_named(tmp_path):
    (tmp_path / "plain.sh").write_text("")
    assert "'no-such-program' is not on the PATH" in str(parse("no-such-program").program_problem(tmp_path))
    assert "cannot be executed; chmod +x" in str(parse("./plain.sh").program_problem(tmp_path))
    assert "does not exist" in str(parse("./other.sh").program_problem(tmp_path))
    (tmp_path / "plain.sh").chmod(0o755)
    assert parse("./plain.sh").program_problem(tmp_path) is None
    assert parse("sh").program_problem(tmp_path) is None
    assert parse("{model}/run").program_problem(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1800), ("12h", 43_200), ("1h 30m", 5400), ("0.5h", 1800), ("2D", 172_800)],
)
def test_durations_have_units(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-5m", "1 hour", "0s", "400d", "1h30", "inf"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match="must be"):
        seconds_of(text)
