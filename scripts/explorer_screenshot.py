"""Take the screenshot of the explorer in docs/explorer.md: coloured by skill, one sample opened.

adaptinf demo --out runs/demo
python scripts/explorer_screenshot.py runs/demo/adapt_plus docs/images/explorer.png

Needs Chromium with its driver and selenium (`pip install -e '.[dev]'`).
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from adaptinf.runs import Run
from adaptinf.view.explorer import Explorer
from adaptinf.view.server import make_server

WIDTH, HEIGHT = 1400, 860
"""Pixels of the screenshot."""
COLORS = 255
"""Number of colours in the screenshot."""
SECONDS = 60.0
"""Longest time in seconds that a state of the page may take."""
ROW = 150
"""Row of the sample that is opened."""
COLOUR = "const c = document.getElementById('colour'); c.value = 'true skill'; c.dispatchEvent(new Event('change'))"
OPENED = "const image = document.querySelector('#detail .near img'); return Boolean(image?.complete)"


def screenshot(folder: Path, out: Path) -> None:
    """Write the explorer of a run's last step as a PNG."""
    server = make_server(Explorer.open(Run.open(folder), None), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = Options()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    flags = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--enable-unsafe-swiftshader")
    for flag in (*flags, f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(server.url)
        _wait(driver, "return document.documentElement.dataset.state === 'ready'")
        driver.execute_script(f"{COLOUR}; explorer.choose({ROW})")
        _wait(driver, OPENED)
        time.sleep(1)
        image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()
        server.shutdown()
    out.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(COLORS).save(out, optimize=True)


def _wait(driver: webdriver.Chrome, condition: str) -> None:
    end = time.monotonic() + SECONDS
    while not driver.execute_script(condition):
        if time.monotonic() > end:
            raise SystemExit(f"never true in {SECONDS:.0f} s: {condition}")
        time.sleep(0.1)


if __name__ == "__main__":
    screenshot(Path(sys.argv[1]), Path(sys.argv[2]))
