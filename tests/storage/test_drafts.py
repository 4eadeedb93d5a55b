"""Files and folders that several processes write at once: one wins, and nobody claims what another did."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from adaptinf.errors import ConfigError, StoreError
from adaptinf.storage import drafts


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with drafts.new_folder(tmp_path / "a" / "out") as part:
        (part / "data").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "data").read_text() == "x"
    assert names(tmp_path / "a") == {"out"}


def test_two_folders_at_once_end_with_one_that_is_whole_and_one_that_is_told(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="out already exists"):  # noqa: SIM117
        with drafts.new_folder(out) as slow:
            (slow / "slow").write_text("x")
            with drafts.new_folder(out) as fast:
                (fast / "fast").write_text("x")
    assert names(out) == {"fast"} and names(tmp_path) == {"out"}


@pytest.mark.parametrize("kind", ["folder", "file", "link to nowhere"])
def test_what_stands_at_a_new_folders_place_is_left_alone(tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir() if kind == "folder" else out.write_text("x") if kind == "file" else out.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="already exists"), drafts.new_folder(out):
        raise AssertionError("the block must not begin")
    assert names(tmp_path) == {"out"}


def test_a_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), drafts.new_folder(tmp_path / "out") as part:
        (part / "data").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == set()


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_success_is_not_claimed_for_what_another_process_removed_or_replaced(tmp_path, monkeypatch, change):
    real = os.replace

    def raced(source, target):
        real(source, target)
        Path(target).unlink()
        if change == "replaced":
            Path(target).write_text("another's")

    monkeypatch.setattr(drafts.os, "replace", raced)
    with pytest.raises(StoreError, match=r"report\.html was replaced or removed by another process"):
        drafts.write_text_whole(tmp_path / "report.html", "mine")


def test_many_writers_of_one_file_all_end_well_and_one_text_is_left_whole(tmp_path):
    texts = [str(number) * 100_000 for number in range(6)]
    errors: list[BaseException] = []

    def write(text: str) -> None:
        try:
            drafts.write_text_whole(tmp_path / "report.html", text)
        except StoreError:
            pass  # it was replaced right after, and this process says so
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and (tmp_path / "report.html").read_text() in texts
    assert names(tmp_path) == {"report.html"}


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_a_draft_in_use_is_not(tmp_path):
    dead = os.fork()
    if dead == 0:
        drafts._new_file(tmp_path / "out")
        drafts._new_folder(tmp_path / "out")
        os._exit(0)
    os.waitpid(dead, 0)
    assert len(names(tmp_path)) == 2
    (tmp_path / "out.of.somebody.part").write_text("x")
    draft, descriptor = drafts._new_folder(tmp_path / "out")
    drafts.write_text_whole(tmp_path / "out", "x")
    os.close(descriptor)
    assert names(tmp_path) == {"out", draft.name, "out.of.somebody.part"}
