"""What training leaves beside its weights."""

from __future__ import annotations

from adaptinf.data import Trained
from adaptinf.storage import checksums, store, tables


def test_checksums_that_a_killed_attempt_has_left_are_no_weights(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    trained = Trained(info={"samples": 1})
    trained.save(tmp_path)
    files = tables.read_json(tmp_path / store.INFO)["files"]
    checksums.seal(tmp_path)
    trained.save(tmp_path)
    assert tables.read_json(tmp_path / store.INFO)["files"] == files == ["adapter_model.safetensors"]
