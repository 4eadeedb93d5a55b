"""A real Chromium for pages: headless, without a graphics card, with what it complained of."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --disable-dev-shm-usage --enable-unsafe-swiftshader"
).split()
NOT_OURS = "GL Driver Message"
"""In what a browser says of its own drawing without a graphics card."""


def found_browser() -> str:
    """Return the path of a Chromium; without one the test is skipped, and where CI is set it fails."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None or shutil.which("chromedriver") is None:
        reason = "no Chromium with its driver: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return browser


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Any]:
    """Yield a driver with its own profile, and further flags."""
    browser = found_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = browser
    for flag in [*FLAGS, *flags, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def set_screen(driver: Any, width: int, height: int, *, scheme: str = "light") -> None:
    """Give the page a screen of a size, that of a person who likes light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def until(driver: Any, condition: str, *, seconds: float = 20.0) -> None:
    """Wait until a script returns true."""
    end = time.monotonic() + seconds
    while not driver.execute_script(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        time.sleep(0.05)


def complaints(driver: Any) -> list[str]:
    """Return what the browser's console has said since it was last asked."""
    return [line["message"] for line in driver.get_log("browser") if NOT_OURS not in line["message"]]
