"""Take the README's screenshot of a report: its upper part, as on a wide screen.

adaptinf demo --out runs/demo
python scripts/report_screenshot.py runs/demo/report.html docs/images/report.png

Needs Chromium with its driver and selenium (`pip install -e '.[dev]'`).
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WIDTH, HEIGHT = 1280, 1500
"""Pixels of the screenshot."""
COLORS = 128
"""Number of colours in the screenshot: enough for a page, with a third of the bytes."""
SECONDS = 60.0
"""Longest time in seconds that a page may take to draw all its figures."""
ALL_DRAWN = "return [...document.querySelectorAll('figure[data-figure]')].every((figure) => figure.dataset.state)"


def screenshot(page: Path, out: Path) -> None:
    """Write the upper part of a page as a PNG."""
    driver = _browser(tempfile.mkdtemp())
    try:
        driver.set_window_size(WIDTH, HEIGHT)
        driver.get(page.resolve().as_uri())
        end = time.monotonic() + SECONDS
        while not driver.execute_script(ALL_DRAWN):
            if time.monotonic() > end:
                raise SystemExit(f"{page}: the figures were not drawn in {SECONDS:.0f} s")
            time.sleep(0.1)
        image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()
    out.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(COLORS).save(out, optimize=True)


def _browser(profile: str) -> webdriver.Chrome:
    options = Options()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}")
    for flag in flags:
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


if __name__ == "__main__":
    screenshot(Path(sys.argv[1]), Path(sys.argv[2]))
