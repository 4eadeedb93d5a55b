"""The page's own files: small, of this package alone, and never taking data for markup."""

from __future__ import annotations

import re

from adaptinf.view.page import POLICY, page_files

MAX_BYTES = 200_000
MARKUP = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "DOMParser",
    "srcdoc",
)


def test_the_page_is_small_and_has_no_build():
    assert sum(path.stat().st_size for path in page_files()) < MAX_BYTES
    names = {path.name for path in page_files()}
    for path in page_files():
        if path.suffix == ".js":
            imported = re.findall(r'from "(.*?)"', path.read_text(encoding="utf-8"))
            assert all(name.startswith("./") and name[2:] in names for name in imported), path.name


def test_no_script_makes_markup_or_code_of_text():
    for path in page_files():
        text = path.read_text(encoding="utf-8")
        assert not [word for word in MARKUP if word in text], path.name
        # The one address is the name of a kind of elements, which nothing is fetched from.
        assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}, path.name


def test_an_exported_page_has_the_policy_that_the_server_gives():
    (index,) = [path for path in page_files() if path.name == "index.html"]
    assert f'content="{POLICY}"' in index.read_text(encoding="utf-8")
