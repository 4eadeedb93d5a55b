"""`adaptinf select`: files in, ids out, the same as the functions give, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptinf import registry
from adaptinf.clustering import cluster
from adaptinf.data import Selection
from adaptinf.errors import ConfigError, DataError
from adaptinf.select_files import Request, choose, choose_into
from adaptinf.select_files.array_files import read_rows
from adaptinf.selection import select
from adaptinf.selection.methods.multiway import PAPER_SCORERS
from adaptinf.storage import drafts, tables

EXAMPLES = Path(__file__).parents[2] / "examples"
NUM_ROWS = 120


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shuffle = rng.permutation(NUM_ROWS)
    return {
        "ids": [f"toy/{i:03d}" for i in shuffle],
        "vectors": (np.eye(3, 8)[shuffle % 3] + 0.2 * rng.standard_normal((NUM_ROWS, 8))).astype(np.float16),
        "embeddings": rng.standard_normal((NUM_ROWS, 6)).astype(np.float16),
        "scores": {name: rng.random(NUM_ROWS) for name in (*PAPER_SCORERS, "grand")},
        "sources": ["old" if i < 80 else "new" for i in shuffle],
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write everything that one may have, and return where."""
    toy = arrays()
    pq.write_table(pa.table({"id": toy["ids"], **toy["scores"], "source": toy["sources"]}), tmp_path / "scores.parquet")
    for name in ("vectors", "embeddings"):
        np.save(tmp_path / f"{name}.npy", toy[name])
    return {name: next(tmp_path.glob(f"{name}.*")) for name in ("scores", "vectors", "embeddings")}


@pytest.mark.parametrize("method", ["adapt", "dbp", "coincide", "semdedup_random", "grand_ccs"])
def test_it_is_clustering_and_selection_on_the_same_arrays(files: dict[str, Path], method: str) -> None:
    toy = arrays()
    chosen = choose(Request(**files, budget=20, seed=4, method=method))
    clusters = cluster(toy["vectors"], ids=toy["ids"], seed=4)
    expected = select(
        toy["scores"], clusters.labels, toy["ids"], 20, method=method, seed=4, vectors=toy["vectors"],
        embeddings=toy["embeddings"], centers=clusters.centers, distances=clusters.distances,
    )  # fmt: skip
    assert chosen.selection.ids.tolist() == expected.ids.tolist()
    assert chosen.info["options"] == ({"scorers": list(PAPER_SCORERS)} if method == "adapt" else {})


OF_RUNS = frozenset({"history", "targets"})
"""Inputs that only a run has."""
METHODS = [name for name in registry.selector.names() if not OF_RUNS & registry.selector[name].needs]


def test_a_method_that_needs_a_run_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"mssr_like needs arrived and history: give a column `arrived`"):
        choose(Request(**files, budget=5, method="mssr_like"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_chooses_from_files(files: dict[str, Path], tmp_path: Path, method: str) -> None:
    columns = pq.read_table(files["scores"]).to_pydict()
    columns |= {name: [float(i) for i in range(NUM_ROWS)] for name in registry.scorer.names() if name not in columns}
    columns |= {"arrived": [i % 2 for i in range(NUM_ROWS)], "skill": ["see", "read", None] * 40}
    pq.write_table(pa.table(columns), files["scores"])
    chosen = choose_into(tmp_path / "chosen", Request(**files, budget=17, method=method, clusters=None))
    ids = (tmp_path / "chosen" / "ids.txt").read_text().splitlines()
    assert len(set(ids)) == 17 and set(ids) <= set(columns["id"])
    assert Selection.load(tmp_path / "chosen").ids.tolist() == ids == chosen.selection.ids.tolist()


def test_the_folder_has_ids_tables_and_where_they_come_from(files: dict[str, Path], tmp_path: Path) -> None:
    table = pq.read_table(files["scores"])
    grand = np.where(np.arange(NUM_ROWS) < 5, np.nan, table["grand"].to_numpy())
    pq.write_table(table.set_column(5, "grand", pa.array(grand)), files["scores"])
    out = tmp_path / "deep" / "chosen"
    choose_into(out, Request(**files, budget=20, clusters=3, seed=2))
    assert {path.name for path in out.iterdir()} == {"ids.txt", "selection.parquet", "clusters.parquet", "info.json"}
    info = tables.read_json(out / "info.json")
    assert (info["method"], info["budget"], info["seed"], info["pool"], info["chosen"]) == ("adapt", 20, 2, 120, 20)
    assert info["not_finite"] == {**dict.fromkeys(PAPER_SCORERS, 0), "grand": 5}
    assert sum(count["chosen"] for count in info["sources"].values()) == 20
    assert info["sources"]["old"]["pool"] == 80
    assert set(info["inputs"]) == {str(path) for path in files.values()}
    assert {"adaptinf", "numpy", "scikit-learn"} <= set(info["made_by"])
    assert len(tables.read_table(out / "clusters.parquet")["cluster"]) == 3
    # The same files and the same seed: the same bytes of ids; another file: another digest.
    choose_into(tmp_path / "again", Request(**files, budget=20, clusters=3, seed=2))
    assert (tmp_path / "again" / "ids.txt").read_bytes() == (out / "ids.txt").read_bytes()
    before = info["inputs"][str(files["vectors"])]
    np.save(files["vectors"], -np.load(files["vectors"]))
    after = choose(Request(**files, budget=20, clusters=3)).info["inputs"][str(files["vectors"])]
    assert before["bytes"] == after["bytes"] and before["xxh3"] != after["xxh3"]


def test_the_number_of_clusters_is_what_the_method_wants_unless_one_is_named(files: dict[str, Path]) -> None:
    def tried(**changes: Any) -> dict[str, Any]:
        return choose(Request(**files, budget=20, **changes)).info["clusters"]

    # 300, of 120 rows.
    assert tried(method="adapt_plus")["clusters"] == NUM_ROWS
    assert tried(method="adapt_plus", clusters=7)["clusters"] == 7
    assert tried(method="adapt_plus", clusters="auto")["clusters"] == tried(method="adapt")["clusters"] == 3


def test_scores_alone_are_one_cluster_and_say_so(files: dict[str, Path]) -> None:
    toy = arrays()
    chosen = choose(Request(scores=files["scores"], budget=20))
    expected = select(toy["scores"], np.zeros(NUM_ROWS, int), toy["ids"], 20)
    assert chosen.selection.ids.tolist() == expected.ids.tolist()
    assert chosen.info["clusters"] == {"found": "one cluster of everything"}


def test_vectors_alone_have_row_numbers_as_ids(files: dict[str, Path]) -> None:
    chosen = choose(Request(vectors=files["vectors"], budget=20, method="coincide", clusters=3))
    assert chosen.selection.ids.tolist() == [str(row) for row in chosen.selection.indices]
    by_embeddings = choose(Request(embeddings=files["embeddings"], budget=20, method="semdedup_random", clusters=3))
    assert by_embeddings.info["clusters"]["found"] == "k-means on embeddings"


def test_clusters_of_the_table_are_taken_and_get_centers_from_the_vectors(files: dict[str, Path]) -> None:
    task = [("see", "read", "count")[int(name[-3:]) % 3] for name in arrays()["ids"]]
    table = pq.read_table(files["scores"]).append_column("task", pa.array(task))
    pq.write_table(table, files["scores"])
    chosen = choose(Request(**files, label_column="task", budget=21, method="dbp"))
    assert chosen.info["clusters"] == {"found": "column 'task'", "names": ("count", "read", "see")}
    assert chosen.selection.clusters["size"].tolist() == [40, 40, 40]
    dense = choose(Request(**files, label_column="task", budget=21, options={"budgets": "density"}))
    assert dense.selection.clusters["budget"].tolist() == chosen.selection.clusters["budget"].tolist()


def test_without_the_papers_four_every_score_of_the_table_may_decide(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"id": list("abcd"), "loss": [1.0, 2, 3, 4], "length": [4, 3, 2, 1]}), path)
    assert choose(Request(scores=path, budget=2)).info["options"] == {"scorers": ["loss", "length"]}
    top = choose(Request(scores=path, budget=2, options={"choose": "fixed:loss", "sampling": "top"}))
    assert top.selection.ids.tolist() == ["c", "d"]


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"method": "adpat"}, ConfigError, "unknown selector 'adpat'; did you mean 'adapt'"),
        ({"options": {"choos": "borda"}}, ConfigError, "adapt has no option 'choos'; did you mean 'choose'"),
        ({"budget": -1}, ConfigError, "budget=-1"),
        ({"budget": 0}, ConfigError, "--budget 0 selects nothing"),
        ({"scores": None}, ConfigError, "adapt needs scores: give a table .*coincide, dbp"),
        (
            {"vectors": None, "embeddings": None, "method": "dbp"},
            ConfigError,
            "needs centers and distances: give --vect",
        ),
        (
            {"embeddings": None, "method": "semdedup_random"},
            ConfigError,
            "needs embeddings: give --embeddings FILE.npy",
        ),
        ({"method": "sequential"}, ConfigError, "sequential needs arrived: give a column `arrived`"),
        (
            {"method": "grand_top", "clusters": 3},
            ConfigError,
            "3 cannot be used: grand_top needs no clusters; leave it out",
        ),
        (
            {"vectors": None, "embeddings": None, "clusters": 3},
            ConfigError,
            "--clusters 3 cannot be used: there are no --vectors",
        ),
        ({"clusters": "many"}, ConfigError, "clusters='many' must be 'auto' or a number"),
        ({"scores": None, "vectors": None, "embeddings": None}, ConfigError, "there is nothing to select from"),
        (
            {"vectors": "short"},
            DataError,
            "short.npy has 119 rows, .*scores.parquet has 120; give both with one row per sample",
        ),
        ({"vectors": "flat"}, DataError, r"flat.npy have shape \(120,\)"),
        ({"vectors": "scores"}, DataError, "--vectors .*scores.npy cannot be read as a .npy array"),
        ({"vectors": "gone"}, DataError, "--vectors .*gone.npy cannot be read as a .npy array"),
    ],
)
def test_what_does_not_fit_is_told_with_the_way_out(
    files: dict[str, Path], changes: dict[str, Any], error: type[Exception], reason: str
) -> None:
    folder = files["scores"].parent
    np.save(folder / "short.npy", np.ones((119, 2)))
    np.save(folder / "flat.npy", np.ones(120))
    (folder / "scores.npy").write_text("no array")
    changes = dict(changes)
    if isinstance(changes.get("vectors"), str):
        changes["vectors"] = folder / f"{changes['vectors']}.npy"
    with pytest.raises(error, match=reason):
        choose(Request(**{**files, "budget": 20, **changes}))


def test_a_folder_that_exists_is_left_alone(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "chosen").mkdir()
    with pytest.raises(ConfigError, match="already exists; choose another --out, or delete it"):
        choose_into(tmp_path / "chosen", Request(scores=files["scores"], budget=5))
    assert list((tmp_path / "chosen").iterdir()) == []


def test_a_crash_while_writing_leaves_no_folder_that_looks_finished(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drafts.os, "fsync", no_space)
    with pytest.raises(OSError):
        choose_into(tmp_path / "chosen", Request(scores=files["scores"], budget=5))
    assert not (tmp_path / "chosen").exists()
    monkeypatch.undo()
    choose_into(tmp_path / "chosen", Request(scores=files["scores"], budget=5))
    assert not list(tmp_path.glob("*.part"))


def test_the_command_prints_what_it_did(call, files: dict[str, Path], tmp_path: Path) -> None:
    words = ["select", files["scores"], "--vectors", files["vectors"], "--clusters", "3", "--budget", "20"]
    code, out, err = call(*words, "--out", tmp_path / "a", "--set", "sampling=top", "--set", "choose=fixed:el2n")
    assert (code, err) == (0, "")
    assert "120 samples; scores: perplexity, image_grounding, el2n, entropy, grand" in out
    assert "clusters: k-means on vectors, 3" in out and "selected 20 with seed 0" in out
    assert len((tmp_path / "a" / "ids.txt").read_text().splitlines()) == 20
    code, out, _ = call("select", files["scores"], "--budget", "7", "--out", tmp_path / "b", "--json")
    assert code == 0 and json.loads(out)["chosen"] == 7
    code, out, err = call(*words, "--out", tmp_path / "a")
    assert (code, out) == (2, "") and "already exists" in err
    code, out, err = call("select", files["scores"], "--budget", "7", "--out", tmp_path / "c", "--method", "dpb")
    assert code == 2 and "did you mean 'dbp'" in err and not (tmp_path / "c").exists()
    code, out, err = call("select", files["scores"], "--budget", "7", "--out", tmp_path / "c", "--set", "sampling")
    assert code == 2 and "is not KEY=VALUE" in err


@pytest.mark.parametrize("name", ["vectors", "embeddings"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_named_and_selected_last(
    call, files: dict[str, Path], tmp_path: Path, name: str, value: float
) -> None:
    rows = np.load(files[name]).copy()
    rows[[3, 5, 8], 1] = value
    np.save(files[name], rows)
    ids = arrays()["ids"]
    broken = {ids[3], ids[5], ids[8]}
    for method in ("adapt", "semdedup_random", "random_replay"):
        chosen = choose(Request(**files, budget=NUM_ROWS - 3, method=method))
        assert set(chosen.ids) == set(ids) - broken, method
        assert chosen.info["not_finite_rows"] == {name: {"rows": 3, "ids": [ids[3], ids[5], ids[8]]}}
    assert len(choose(Request(**files, budget=NUM_ROWS)).ids) == NUM_ROWS
    words = ["select", files["scores"], f"--{name}", files[name], "--budget", "5", "--out", tmp_path / "out"]
    code, out, _ = call(*words)
    assert code == 0 and f"{name}: 3 rows not finite, selected last: {ids[3]}, {ids[5]}, {ids[8]}" in out


@pytest.mark.parametrize("name", ["vectors", "embeddings"])
def test_arrays_without_a_finite_row_are_refused(files: dict[str, Path], name: str) -> None:
    np.save(files[name], np.full((NUM_ROWS, 3), np.inf, np.float16))
    with pytest.raises(DataError, match=f"--{name} .*: 120 of 120 rows are not finite .* float32"):
        choose(Request(**files, budget=5))


def test_scores_without_a_finite_value_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    table = {"id": arrays()["ids"], "loss": np.full(NUM_ROWS, np.nan), "margin": np.full(NUM_ROWS, np.inf)}
    pq.write_table(pa.table(table), files["scores"])
    with pytest.raises(DataError, match="120 of 120 rows have no finite score in loss, margin"):
        choose(Request(**files, budget=5))
    assert len(choose(Request(**files, budget=5, method="random_replay")).ids) == 5
    table["loss"] = np.where(np.arange(NUM_ROWS) < 2, 0.5, np.nan)
    pq.write_table(pa.table(table), files["scores"])
    assert choose(Request(scores=files["scores"], budget=2)).ids.tolist() == arrays()["ids"][:2]


@pytest.mark.parametrize("kind", ["raw", "empty", "header", "cut", "objects", "text", "zip", "zip_cut"])
def test_a_file_that_is_no_array_is_told_without_advice_to_unpickle(files: dict[str, Path], kind: str) -> None:
    path, vectors = files["vectors"], np.load(files["vectors"])
    whole = path.read_bytes()
    if kind == "raw":
        vectors.tofile(path)
    elif kind == "objects":
        np.save(path, np.array([[1], [2, 3]], dtype=object), allow_pickle=True)
    elif kind.startswith("zip"):
        np.savez(path.with_suffix(".npz"), a=vectors, b=vectors)
        path.write_bytes(path.with_suffix(".npz").read_bytes()[: 300 if kind == "zip_cut" else None])
    else:
        damaged = whole.replace(b"(120, 8)", b"(1" + b"0" * 5 + b",)")
        path.write_bytes({"empty": b"", "header": damaged, "cut": whole[:200], "text": b"1.0, 2.0"}[kind])
    with pytest.raises(DataError) as caught:
        choose(Request(**files, budget=5))
    message = str(caught.value)
    assert f"--vectors {path}" in message and "\n" not in message
    assert "pickle" not in message and "unsafe" not in message
    if kind == "zip":
        assert "holds 2 arrays: a, b; save the one that is meant" in message


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_header_is_always_told(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.ones((4, 2), np.float32))
    whole = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(6, 127), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        assert read_rows(path, "vectors").ndim == 2
    except DataError as error:
        assert str(path) in str(error)


def test_an_archive_of_one_array_is_that_array(files: dict[str, Path], tmp_path: Path) -> None:
    expected = choose(Request(**files, budget=20))
    np.savez(tmp_path / "v.npz", np.load(files["vectors"]))
    found = choose(Request(**{**files, "vectors": tmp_path / "v.npz"}, budget=20))
    assert found.ids.tolist() == expected.ids.tolist()


def test_a_budget_above_the_table_says_so_and_so_do_too_few_clusters(
    call, files: dict[str, Path], tmp_path: Path, caplog
) -> None:
    words = ["select", files["scores"], "--vectors", files["vectors"], "--budget", "500"]
    code, out, _ = call(*words, "--out", tmp_path / "a", "--clusters", "400")
    assert code == 0 and "only 120 of the budget of 500: there are no more samples to select" in out
    assert "clusters: k-means on vectors, 120 of 400, as no more rows differ" in out
    code, out, err = call(*words, "--out", tmp_path / "b", "--method", "adapt_plus")
    assert code == 0 and "clusters: k-means on vectors, 120\n" in out and err == "" and not caplog.records
    code, _, err = call("select", files["scores"], "--budget", "0", "--out", tmp_path / "c")
    assert code == 2 and "budget" in err


ALONE = """
import sys
from adaptinf import cli
sys.argv = ["adaptinf", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as request:
    assert not request.code, request.code
print([name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""


def test_torch_is_never_imported_and_the_users_selector_takes_part(files: dict[str, Path], tmp_path: Path) -> None:
    words = ["select", files["scores"], "--vectors", files["vectors"], "--budget", "9", "--out", tmp_path / "adapt"]
    mine = ["select", files["scores"], "--budget", "9", "--method", "largest", "--out", tmp_path / "mine"]
    mine += ["--plugins", EXAMPLES / "my_selector.py", "--set", "scorer=grand"]
    for command in (words, mine):
        done = subprocess.run([sys.executable, "-W", "error", "-c", ALONE, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
    grand = arrays()["scores"]["grand"]
    highest = {arrays()["ids"][row] for row in np.argsort(grand)[-9:]}
    assert set((tmp_path / "mine" / "ids.txt").read_text().split()) == highest
