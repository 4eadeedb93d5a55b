"""Names of the hub through the libraries themselves, which ask a server on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.data_files import rows, write_parquet
from tests.helpers.hub_server import COMMIT

CODE = """
import json
from adaptinf.errors import DataError
from adaptinf.sources import find_source, fingerprints, read_shard
from adaptinf.sources.parts import parts_of

def found(path, **options):
    try:
        source = find_source(path, **options)
    except DataError as error:
        return str(error)
    values = [row.value["number"] for shard in source.shards for row in read_shard(shard)]
    return [[shard.url for shard in source.shards], values, fingerprints(source)]

print(json.dumps([
    found("owner/toys", subset="one"),
    found("owner/toys", subset="two", split="test"),
    found("owner/toys"),
    found("owner/none"),
    found("hf://datasets/owner/toys/one"),
    [list(part) for part in parts_of("owner/toys")],
]))
"""


@pytest.mark.slow
def test_the_libraries_find_and_open_the_files_of_one_commit(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    for number, name in enumerate(("one/0", "one/1", "two/train", "two/test")):
        write_parquet(folder / f"{name}.parquet", rows(2 * number, 2 * number + 2))
    splits = [{"split": split, "path": f"two/{split}*"} for split in ("train", "test")]
    configs = [{"config_name": "one", "data_files": "one/*.parquet"}, {"config_name": "two", "data_files": splits}]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    command = [sys.executable, "-m", "tests.helpers.hub_server", str(folder), CODE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two, several, none, address, parts = json.loads(done.stdout)
    prefix = f"hf://datasets/owner/toys@{COMMIT}"
    assert one[0] == [f"{prefix}/one/0.parquet", f"{prefix}/one/1.parquet"] and one[1] == [0, 1, 2, 3]
    assert {tag for _, _, tag in one[2]} == {COMMIT}
    assert two[:2] == [[f"{prefix}/two/test.parquet"], [6, 7]]
    assert several == "owner/toys has the subsets one, two; name one with subset"
    assert none.startswith("owner/none is no file or folder, nor a data set of the hub that you may read")
    assert address[1] == [0, 1, 2, 3] and {tag for _, _, tag in address[2]} == {"b" * 40}
    assert parts == [["one", "owner/toys", "one", "train"], ["two", "owner/toys", "two", "train"]]
