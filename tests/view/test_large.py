"""200,000 samples and 20,000 images: time to the first map, memory of page and server, printed for the record."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from adaptinf import api
from adaptinf.view.explorer import Explorer
from adaptinf.view.server import make_server
from tests.helpers.browser import chromium, set_screen, until
from tests.helpers.explored_runs import explored_run, question_of

NUM_ROWS, NUM_IMAGES, NUM_CLUSTERS = 200_000, 20_000, 300
MAX_SECONDS_TO_MAP = 60.0
MAX_PAGE_BYTES = 800e6
MAX_SERVER_BYTES = 1.5e9
READY = "return document.documentElement.dataset.state === 'ready'"
SHOWN = "return Number(document.getElementById('count').dataset.count)"


def serve(folder: Path, pipe: Any) -> None:
    """Serve a run in a process of its own, as the command does, and send its URL."""
    from adaptinf.runs import Run

    server = make_server(Explorer.open(Run.open(folder), None), "127.0.0.1", 0)
    pipe.send(server.url)
    server.serve_forever()


def megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_thousand_samples_stay_light(tmp_path, capsys):
    run = explored_run(tmp_path, NUM_ROWS, NUM_IMAGES, num_clusters=NUM_CLUSTERS)
    lines = list[str]()
    begin = time.monotonic()
    assert Explorer.open(run, None).map is not None
    lines.append(f"map made, and everything read: {time.monotonic() - begin:.1f} s")

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    begin = time.monotonic()
    server = context.Process(target=serve, args=(run.folder, theirs), daemon=True)
    server.start()
    url = ours.recv()
    lines.append(f"server started, its map made before: {time.monotonic() - begin:.1f} s")
    try:
        with chromium(tmp_path / "profile") as driver:
            set_screen(driver, 1400, 900)
            begin = time.monotonic()
            driver.get(url)
            until(driver, READY, seconds=MAX_SECONDS_TO_MAP)
            lines.append(f"page opened to first map: {time.monotonic() - begin:.1f} s")
            assert driver.execute_script(SHOWN) == NUM_ROWS

            begin = time.monotonic()
            driver.find_element("id", "search").send_keys("number 1234")
            until(driver, f"const shown = (() => {{ {SHOWN} }})(); return shown > 0 && shown < {NUM_ROWS}", seconds=60)
            lines.append(f"search: {time.monotonic() - begin:.1f} s")
            begin = time.monotonic()
            driver.execute_script("document.querySelector('.chip').click(); explorer.choose(12345)")
            until(driver, "return document.getElementById('detail').dataset.id === 'first/00012345'", seconds=60)
            assert question_of(12345) in driver.find_element("id", "detail").text
            until(driver, "return document.querySelector('#detail .images img')?.naturalWidth === 96", seconds=60)
            lines.append(f"one sample with image and neighbours: {time.monotonic() - begin:.1f} s")
            heap = driver.execute_cdp_cmd("Runtime.getHeapUsage", {})
            page = heap["usedSize"] + heap.get("backingStorageSize", 0)
            resident = psutil.Process(server.pid).memory_info().rss
            lines.append(f"memory: page {megabytes(page)}, server {megabytes(resident)}")
        assert page < MAX_PAGE_BYTES and resident < MAX_SERVER_BYTES
    finally:
        server.terminate()
        server.join()

    begin = time.monotonic()
    written = api.export_view(run.folder, out=tmp_path / "page")
    assert written.num_images == NUM_IMAGES and json.loads((tmp_path / "page/data/view.json").read_text())["is_static"]
    lines.append(f"export: {time.monotonic() - begin:.1f} s, {megabytes(written.num_bytes)}")
    with capsys.disabled():
        print("", *lines, sep="\n")
