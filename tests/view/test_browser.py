"""The explorer in a real Chromium without a graphics card: served, and exported to a plain server of files.

Without Chromium these tests are skipped; where CI is set they fail, as the page would go unseen.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from adaptinf import api
from adaptinf.data import Selection
from adaptinf.pool.id_lists import read_ids
from adaptinf.view.explorer import Explorer
from adaptinf.view.server import make_server
from tests.helpers.browser import chromium, complaints, set_screen, until
from tests.helpers.explored_runs import HOSTILE, explored_run, question_of

NUM_ROWS, NUM_IMAGES = 400, 20
READY = "return document.documentElement.dataset.state === 'ready'"
COLOUR = "const c = document.getElementById('colour'); c.value = arguments[0]; c.dispatchEvent(new Event('change'))"
SHOWN = "return Number(document.getElementById('count').dataset.count)"
OPEN = "document.querySelector(`[data-column='${arguments[0]}'] summary`).click()"
ON_MAP = """
const box = document.getElementById('map').getBoundingClientRect();
const [x, y] = explorer.scatter.toScreen(arguments[0]);
return [box.x + x, box.y + y, explorer.scatter.pick([x, y])];
"""


@contextmanager
def serving(server):
    """Answer requests in a thread for the block."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return explored_run(tmp_path_factory.mktemp("explored"), NUM_ROWS, NUM_IMAGES)


@pytest.fixture(scope="module")
def served(run):
    with serving(make_server(Explorer.open(run, None), "127.0.0.1", 0)) as server:
        yield server.url


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "page"
    api.export_view(run.folder, out=out)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(out)))) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    # No name of another machine is found, and so nothing else is reached.
    with chromium(
        tmp_path_factory.mktemp("profile"), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    ) as one:
        yield one


@pytest.fixture(params=["served", "exported"])
def either(request) -> str:
    """The page in both of its forms, for what they do in ways of their own."""
    return request.getfixturevalue(request.param)


def open_page(driver, url: str, *, scheme: str = "light") -> None:
    set_screen(driver, 1400, 900, scheme=scheme)
    driver.get(url)
    until(driver, READY)


def choose_on_map(driver, row: int) -> None:
    """Click on the point of a row."""
    x, y, found = driver.execute_script(ON_MAP, row)
    assert found == row
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def test_the_map_is_drawn_and_nothing_else_than_its_own_server_is_asked(driver, either):
    driver.get_log("performance")
    open_page(driver, either)
    drawn = driver.execute_script("""
        const gl = explorer.scatter.gl, size = gl.drawingBufferWidth * gl.drawingBufferHeight;
        const pixels = new Uint8Array(4 * size);
        explorer.scatter.drawPoints();
        gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        return pixels.filter((value, at) => at % 4 === 3 && value > 0).length;
    """)
    assert drawn > 1000
    assert driver.execute_script(SHOWN) == NUM_ROWS
    asked = [json.loads(line["message"])["message"] for line in driver.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 10 and all(one.startswith(either) for one in urls), urls
    assert complaints(driver) == []


def test_a_search_filters_map_and_table(driver, either):
    open_page(driver, either)
    driver.find_element("id", "search").send_keys("RECEIPTS")
    until(driver, f"{SHOWN} === {40 + 27}")
    until(driver, f"return document.getElementById('table').dataset.shown === '{40 + 27}'")
    texts = [cell.text for cell in driver.find_elements("css selector", "td.question")]
    assert texts and all("receipts" in text for text in texts)
    assert driver.execute_script("return explorer.scatter.states.reduce((sum, one) => sum + one, 0)") == 40 + 27
    driver.find_element("css selector", ".chip").click()
    until(driver, f"{SHOWN} === {NUM_ROWS}")
    assert complaints(driver) == []


def test_filters_of_two_columns_are_joined_and_counted(driver, served, run):
    open_page(driver, served)
    num_selected = len(run.load(1, Selection).ids)
    value = "[data-column='{}'] button.value[title='{}']"
    until(driver, "return document.querySelector(\"[data-column='decision'] button.value\") !== null")
    driver.find_element("css selector", value.format("decision", "selected")).click()
    assert driver.execute_script(SHOWN) == num_selected
    until(driver, "return document.querySelector(\"[data-column='source'] button.value\") !== null")
    second = driver.find_element("css selector", value.format("source", "second"))
    wanted = int(second.find_element("css selector", ".number").text)
    second.click()
    assert driver.execute_script(SHOWN) == wanted < num_selected
    until(driver, f"return document.getElementById('table').dataset.shown === '{wanted}'")
    decisions = {cell.text for cell in driver.find_elements("css selector", "td.category")}
    assert "selected" in decisions and "pruned" not in decisions


def test_a_range_of_a_score_keeps_its_samples(driver, served):
    open_page(driver, served)
    driver.execute_script(OPEN, "perplexity")
    until(driver, "return document.querySelector(\"[data-column='perplexity'] input\") !== null")
    low = driver.find_element("css selector", "[data-column='perplexity'] input")
    low.send_keys("3\t")
    column = "explorer.data.column('perplexity').data"
    wanted = driver.execute_script(f"return {column}.filter((value) => value >= 3).length")
    until(driver, f"{SHOWN} === {wanted}")
    assert 0 < wanted < NUM_ROWS


def test_colours_follow_the_true_skill(driver, served):
    open_page(driver, served)
    driver.execute_script(COLOUR, "true skill")
    until(driver, "return document.documentElement.dataset.colour === 'true skill'")
    names = [key.text for key in driver.find_elements("css selector", "#legend .key")]
    assert sorted(names) == ["animals", "charts", "maps", "receipts", "sports", "street signs"]
    dot = "return getComputedStyle(document.querySelectorAll('#legend .dot')[arguments[0]]).backgroundColor"
    colours = [driver.execute_script(dot, number) for number in range(6)]
    assert len(set(colours)) == 6
    points = driver.execute_script(
        "return [0, 6, 1].map((row) => [...explorer.scatter.colours.slice(4 * row, 4 * row + 3)])"
    )
    assert points[0] == points[1] != points[2]
    assert f"rgb({', '.join(map(str, points[0]))})" in colours


@pytest.mark.parametrize("row", [3, 7])
def test_a_click_on_a_point_shows_the_image_and_the_text_of_its_sample(driver, either, row):
    open_page(driver, either)
    choose_on_map(driver, row)
    until(driver, f"return document.getElementById('detail').dataset.id === 'first/{row:08d}'")
    shown = driver.find_element("id", "detail")
    assert question_of(row) in shown.text and f"The answer to number {row}," in shown.text
    until(driver, "return document.querySelector('#detail .images img')?.naturalWidth === 96")
    # The colour of the middle of the picture is that of its number.
    pixel = driver.execute_script("""
        const canvas = document.createElement("canvas"), image = document.querySelector("#detail .images img");
        canvas.getContext("2d").drawImage(image, 0, 0);
        return [...canvas.getContext("2d").getImageData(80, 60, 1, 1).data.slice(0, 3)];
    """)
    wanted = {3: (210, 73, 122), 7: (229, 138, 31)}[row]
    assert all(abs(one - other) < 14 for one, other in zip(pixel, wanted, strict=True)), pixel
    near = shown.find_elements("css selector", ".neighbour")
    assert len(near) == 8
    other = near[0].get_attribute("data-row")
    driver.execute_script("arguments[0].click()", near[0])
    until(driver, f"return document.getElementById('detail').dataset.row === '{other}'")
    assert complaints(driver) == []


def test_hostile_texts_and_names_stay_text(driver, served):
    open_page(driver, served)
    driver.execute_script("explorer.choose(7)")
    until(driver, "return document.getElementById('detail').dataset.id === 'first/00000007'")
    assert HOSTILE in driver.find_element("id", "detail").text
    assert HOSTILE in [cell.text for cell in driver.find_elements("css selector", "td.question")]
    driver.find_element("id", "tab-tests").click()
    until(driver, "return document.querySelectorAll('#tests tbody tr').length === 12")
    assert HOSTILE in driver.find_element("id", "tests").text
    driver.find_element("id", "tab-rejected").click()
    until(driver, "return document.querySelectorAll('#rejected tbody tr').length === 1")
    assert "<b>bold</b>.png is missing" in driver.find_element("id", "rejected").text
    assert driver.execute_script("return document.querySelectorAll('script').length") == 1
    assert driver.execute_script("return document.querySelectorAll(\"img[src='x'], [onerror]\").length") == 0
    assert complaints(driver) == []


def test_a_lasso_keeps_the_samples_inside_and_escape_all_of_them(driver, served):
    open_page(driver, served)
    driver.find_element("css selector", "[data-mode=box]").click()
    box = driver.execute_script(
        "const b = document.getElementById('map').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    )
    ends = [(box[0] + 2, box[1] + 60), (box[0] + box[2] / 2, box[1] + box[3] - 4)]
    press = {"button": "left", "clickCount": 1}
    for kind, (x, y) in zip(("mousePressed", "mouseMoved", "mouseReleased"), (ends[0], ends[1], ends[1]), strict=True):
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "buttons": 1, **press})
    wanted = driver.execute_script(
        """
        let count = 0;
        for (let row = 0; row < explorer.data.numRows; row++) {
          const [x, y] = explorer.scatter.toScreen(row);
          count += x > 2 && x < arguments[0] / 2 && y > 60 && y < arguments[1] - 4;
        }
        return count;
    """,
        box[2],
        box[3],
    )
    assert 0 < driver.execute_script(SHOWN) == wanted < NUM_ROWS
    driver.execute_script("document.getElementById('map').focus()")
    driver.switch_to.active_element.send_keys("\ue00c")
    until(driver, f"{SHOWN} === {NUM_ROWS}")


def test_ids_go_out_as_a_file_that_the_commands_take(driver, either, run, tmp_path):
    open_page(driver, either)
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    until(driver, "return document.querySelector(\"[data-column='decision'] button.value\") !== null")
    driver.find_element("css selector", "[data-column='decision'] button.value[title='selected']").click()
    driver.find_element("id", "take").click()
    path = tmp_path / "ids-run-step-1.txt"
    end = time.monotonic() + 10
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end
        time.sleep(0.05)
    ids = read_ids(path, known=())
    assert sorted(ids) == sorted(run.load(1, Selection).ids)
    written = api.export(run.folder, step=1, out=tmp_path / "out", ids=path)
    assert written.num_samples == len(ids)


def test_every_part_is_reached_by_keys(driver, served):
    open_page(driver, served)
    until(driver, "return document.querySelector('tbody tr') !== null")
    driver.execute_script("document.querySelector('tbody tr').focus()")
    driver.switch_to.active_element.send_keys("\ue015")
    until(driver, "return document.getElementById('detail').dataset.row === '1'")
    driver.find_element("tag name", "body").send_keys("/")
    assert driver.switch_to.active_element.get_attribute("id") == "search"
    before = driver.execute_script("document.getElementById('map').focus(); return explorer.scatter.zoom")
    driver.switch_to.active_element.send_keys("+")
    assert driver.execute_script("return explorer.scatter.zoom") > before


def test_a_dark_screen_gets_a_dark_page_and_points_of_other_colours(driver, served):
    found = {}
    for scheme in ("light", "dark"):
        open_page(driver, served, scheme=scheme)
        found[scheme] = driver.execute_script(
            "return [getComputedStyle(document.body).backgroundColor, explorer.scatter.colours.slice(0, 3).join(' ')]"
        )
    assert all(one != other for one, other in zip(found["light"], found["dark"], strict=True))


def test_without_webgl_the_map_is_drawn_by_a_plain_canvas(served, tmp_path):
    with chromium(tmp_path, "--disable-3d-apis") as driver:
        open_page(driver, served)
        count = driver.execute_script("""
            if (explorer.scatter.gl) return -1;
            const canvas = document.getElementById("map");
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return pixels.filter((value, at) => at % 4 === 3 && value > 0).length;
        """)
    assert count > 1000


def test_a_step_without_a_map_shows_its_tables_and_why(driver, tmp_path):
    from adaptinf.data import Features

    run = explored_run(tmp_path, 60, 0)
    Features.drop_arrays(run.stage_folder(0, Features))
    with serving(make_server(Explorer.open(run, 0), "127.0.0.1", 0)) as server:
        open_page(driver, server.url)
        assert "vectors of step 0 were dropped" in driver.find_element("id", "no-map").text
        until(driver, "return document.querySelectorAll('#table tbody tr').length === 36")
        driver.execute_script("explorer.choose(2)")
        until(driver, "return document.getElementById('detail').dataset.id === 'first/00000002'")
        assert complaints(driver) == []


def test_an_exported_folder_holds_nothing_of_this_machine(exported, run, tmp_path):
    out = tmp_path / "page"
    found = api.export_view(run.folder, out=out)
    assert found.num_images == NUM_IMAGES and found.num_samples == NUM_ROWS
    assert len(list((out / "data" / "thumbs").iterdir())) == NUM_IMAGES
    here = str(run.folder.parent).encode()
    assert not [path for path in out.rglob("*") if path.is_file() and here in path.read_bytes()]
    assert Path(out / "index.html").exists()
