"""The rows of a comparison: names, variants' files, caps, and settings that may not be changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adaptinf import config as configuration
from adaptinf.compare.variants import ComparisonRow, method_config, parse_cap, row_config, rows_of
from adaptinf.config import DatasetConfig, PruningConfig, RunConfig, SelectionConfig
from adaptinf.errors import ConfigError
from adaptinf.runs.methods import cap_of
from tests.helpers.streams import write_stream

CONFIG = RunConfig(selection=SelectionConfig(budget=10), pruning=PruningConfig(cap=30))
UNCAPPED = CONFIG.model_copy(update={"pruning": PruningConfig(cap="none")})


def row(method: str, **others) -> ComparisonRow:
    return ComparisonRow(name=others.pop("name", method), method=method, settings=others.pop("settings", {}), **others)


def test_rows_are_the_methods_and_then_the_variants(tmp_path):
    path = tmp_path / "variants.yaml"
    path.write_text(
        "fisher: {method: adapt, extraction.vector: fisher}\n"
        "small: {method: lite_adapt, cap: 20, selection.options: {temperature: 1}, selection.options.x: 1}\n"
    )
    found = rows_of(["adapt", "random_replay"], path)
    assert [one.name for one in found] == ["adapt", "random_replay", "fisher", "small"]
    assert found[2].settings == {"extraction.vector": "fisher"} and found[2].cap is None
    assert found[3].cap == 20 and found[3].changes["cap"] == 20
    assert [one.name for one in rows_of([], path)] == ["fisher", "small"]


def test_the_variants_of_the_documentation_are_rows(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
    (tmp_path / "v.yaml").write_text(re.search(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1])
    found = rows_of([], tmp_path / "v.yaml")
    assert [one.name for one in found] == ["fisher", "ten_clusters", "tight"]
    assert [cap_of(row_config(CONFIG, one, 0)) for one in found] == [None, None, 500]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "does not map names to settings"),
        ("{", "is not valid YAML"),
        ("a: 3", "a: the method is missing; write `method:`"),
        ("a: {extraction.vector: fisher}", "write `method:`"),
        ("a/b: {method: adapt}", "'a/b' cannot be the name of a row, which is also a folder"),
        ("a.part: {method: adapt}", "cannot be the name of a row, which is also a folder"),
        ("shared: {method: adapt}", "it is a folder of every comparison"),
        ("random_replay: {method: adapt}", "random_replay is a method; give the variant of adapt another name"),
        ("adapt: {method: adapt}", "two rows are called 'adapt'"),
        ("a: {method: adapt, seed: 3}", "cannot set seed; name seeds with --seeds"),
        ("a: {method: adapt, pruning.cap: 3}", "cannot set pruning.cap; write `cap:`"),
        ("a: {method: adapt, selection.method: dbp}", "write `method:`"),
        ("a: {method: adapt, cap: -3}", "cap -3 is not valid; give auto"),
        ("a: {method: adapt, cap: yes}", "cap True is not valid; give auto"),
    ],
)
def test_a_wrong_file_of_variants_is_told_with_its_place(tmp_path, text, reason):
    path = tmp_path / "v.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason.replace("(", r"\(")):
        rows_of(["adapt"], path)


def test_no_rows_and_no_file_are_told(tmp_path):
    with pytest.raises(ConfigError, match="nothing to compare"):
        rows_of([])
    with pytest.raises(ConfigError, match="is not a file"):
        rows_of([], tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="two rows are called 'adapt'"):
        rows_of(["adapt", "adapt"])


def test_only_lite_adapt_prunes_in_a_comparison_and_everything_else_is_shared():
    assert cap_of(row_config(CONFIG, row("lite_adapt"), 1)) == 30
    assert cap_of(row_config(CONFIG, row("adapt"), 1)) is None
    assert cap_of(row_config(UNCAPPED, row("lite_adapt"), 1)) == 40
    own = row_config(CONFIG, row("random_replay"), 7)
    assert (own.seed, own.selection.method) == (7, "random_replay")
    changed = {"seed", "selection", "pruning"}
    assert own.model_dump(exclude=changed) == CONFIG.model_dump(exclude=changed)
    with pytest.raises(ConfigError, match="did you mean 'adapt'"):
        row_config(CONFIG, row("adapts"), 0)


def test_a_cap_for_all_is_shared_by_every_row_but_multitask():
    for cap, expected in (("auto", 40), (25, 25)):
        caps = {
            name: cap_of(row_config(CONFIG, row(name), 0, cap=cap)) for name in ("adapt", "lite_adapt", "sequential")
        }
        assert set(caps.values()) == {expected}
        assert cap_of(row_config(CONFIG, row("multitask"), 0, cap=cap)) is None


def test_no_cap_at_all_leaves_no_sense_to_lite_adapt_but_a_row_may_have_its_own():
    assert cap_of(row_config(CONFIG, row("adapt"), 0, cap="none")) is None
    with pytest.raises(
        ConfigError, match="lite_adapt needs a cap in a comparison; leave the row out, or give it a cap"
    ):
        row_config(CONFIG, row("lite_adapt"), 0, cap="none")
    assert cap_of(row_config(CONFIG, row("lite_adapt", cap=15), 0, cap="none")) == 15
    assert cap_of(row_config(CONFIG, row("adapt", cap="none"), 0, cap=25)) is None
    with pytest.raises(ConfigError, match="multitask trains on the whole pool and cannot have a cap"):
        row_config(CONFIG, row("multitask", cap=15), 0)


def test_caps_of_the_command_line():
    assert [parse_cap(text) for text in (None, "auto", "none", "900")] == [None, "auto", "none", 900]
    for wrong in ("0", "-3", "many"):
        with pytest.raises(ConfigError, match=f"--cap: cap .*{wrong.strip('-')}"):
            parse_cap(wrong)


def test_a_variant_changes_its_settings_and_nothing_else():
    settings = {"extraction.vector": "fisher", "selection.options.temperature": 0.5, "training.epochs": 2}
    found = row_config(CONFIG, row("coincide", name="mine", settings=settings), 3)
    assert (found.extraction.vector, found.training.epochs, found.seed) == ("fisher", 2, 3)
    assert found.selection.options == {"temperature": 0.5} and CONFIG.selection.options == {}
    assert found.model_dump(exclude={"extraction", "selection", "training", "seed", "pruning"}) == CONFIG.model_dump(
        exclude={"extraction", "selection", "training", "seed", "pruning"}
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"extraction.vectr": "fisher"}, "(?s)row mine.*vectr.*did you mean 'vector'"),
        ({"extraction.vector": "fishy"}, "(?s)row mine.*extraction.vector"),
        ({"extracton.vector": "fisher"}, "(?s)row mine.*did you mean 'extraction'"),
        ({"selection.budget.x": 1}, "row mine: budget is 10, not a section"),
    ],
)
def test_an_unknown_setting_of_a_variant_is_refused_with_a_suggestion(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        row_config(CONFIG, row("adapt", name="mine", settings=settings), 0)


def test_an_option_meant_for_one_method_is_not_asked_of_the_others(tmp_path):
    selection = {"budget": 5, "budgets": "density", "choose": "borda", "options": {"temperature": 0.2}}
    config = configuration.load(write_stream(tmp_path / "s.yaml", [], selection=selection))
    asked = {name: method_config(config, name, 0).selection.method_options for name in ("adapt", "dbp", "oracle")}
    assert asked == {"adapt": {"budgets": "density", "choose": "borda"}, "dbp": {"temperature": 0.2}, "oracle": {}}


def test_every_knob_of_old_data_can_be_varied(tmp_path):
    datasets = [DatasetConfig(name="one", path="x"), DatasetConfig(name="two", path="y")]
    config = RunConfig(stream=datasets, selection=SelectionConfig(budget=10))
    (tmp_path / "ids.txt").write_text("one/1\n")
    page = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
    text = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[-1]
    (tmp_path / "v.yaml").write_text(text)
    share, weight, keep = (row_config(config, one, 0) for one in rows_of([], tmp_path / "v.yaml"))
    assert share.selection.replay_share == 0.3
    assert [dataset.weight for dataset in weight.stream] == [0.5, None]
    assert keep.selection.keep == str(tmp_path / "ids.txt")


def test_a_share_of_the_stream_is_not_asked_of_methods_that_cannot_have_one():
    config = RunConfig(selection=SelectionConfig(budget=10, replay_share=0.3))
    shares = {name: method_config(config, name, 0).selection.replay_share for name in ("adapt_plus", "oracle")}
    assert shares == {"adapt_plus": 0.3, "oracle": 0.3}
    for name in ("multitask", "sequential"):
        assert method_config(config, name, 0).selection.replay_share is None
