"""The documentation cannot rot unnoticed: commands, settings, links and the map are looked up, examples are run."""

import ast
import json
import os
import pkgutil
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml

from adaptinf import api, config, errors, registry
from adaptinf.cli import app
from adaptinf.registry import dataset_format
from adaptinf.runs.methods import cap_of
from tests.helpers.public_api import SIGNATURES

ROOT = Path(__file__).parent.parent
TOP_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP_PAGES), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = ROOT / "examples"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^<!-- run -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^<!-- run -->\n```(python|sh)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
"""A piece of code, and the output that the page shows under it."""
SHELL_PAGES = [page for page in PAGES if "<!-- run -->\n```sh\n" in page.read_text()]
"""Pages whose code is one story: run in order, in a folder of its own."""
PROGRAM_PAGES = [page for page in PAGES if "<!-- one program -->" in page.read_text()]
"""Pages whose blocks of Python are one program: run in one process, in a folder of its own."""
RETIRED = re.compile(r"\b(?:mend(?:s|ed|ing)?|whoever|by lot|foresees?|foretold)\b", re.IGNORECASE)
PROSE = (
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml",
    "docs/*.md", "examples/*", "scripts/**/*.py", "adaptinf/**/*.py", "adaptinf/report/page/*",
)  # fmt: skip
"""Files that use none of the retired words."""
EXEMPT = {
    # These read files of version 0.1 by their old name.
    "adaptinf/pool/stored.py", "scripts/same_outputs/values.py",
    # Still to be written anew; take them out then.
    "adaptinf/arrays/threads.py", "adaptinf/history/explain.py",
    "adaptinf/selection/__init__.py", "adaptinf/selection/combining.py",
}  # fmt: skip
ENTRY_POINTS = "adaptinf.plugins"
"""The group of entry points, which is written like a module."""
LONG_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
COMMAND = re.compile(r"\badaptinf ([a-z]+(?:-[a-z]+)*)")

COMMANDS = typer.main.get_command(app).commands
OPTIONS = {name: {option for item in command.params for option in item.opts} for name, command in COMMANDS.items()}
ROOT_OPTIONS = {option for item in typer.main.get_command(app).params for option in item.opts} | {"--help"}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_of(page: Path) -> list[str]:
    """Return what a page shows as shell code: indented lines and inline code, without fenced blocks."""
    text = FENCE.sub("", page.read_text())
    prose = [line for line in text.splitlines() if not line.startswith("    ")]
    inline = re.findall(r"`([^`]+)`", "\n".join(prose))
    indented = [line.strip().split("#")[0] for line in text.splitlines() if line.startswith("    ")]
    return [" ".join(code.split()) for code in [*indented, *inline]]


@pytest.mark.parametrize("page", [*PAGES, EXAMPLES / "stream.yaml"], ids=lambda page: page.name)
def test_every_command_exists(page):
    code = page.read_text().splitlines() if page.suffix == ".yaml" else code_of(page)
    named = [name for line in code for name in COMMAND.findall(line)]
    assert [name for name in named if name not in OPTIONS] == []


@pages
def test_every_option_belongs_to_its_command(page):
    settings = "\n".join(block for language, block in FENCE.findall(page.read_text()) if language == "yaml")
    # Settings may hold commands of other programs, such as a trainer, whose options the text below may name.
    anywhere = set().union(*OPTIONS.values(), ROOT_OPTIONS, LONG_OPTION.findall(settings))
    for line in code_of(page):
        if line.startswith(("python ", "pip ", "pytest ", "hf ", "vllm ")):
            continue
        # One line of a listing may show several commands.
        for part in re.split(r"(?=\badaptinf [a-z])", line):
            named = COMMAND.match(part)
            known = OPTIONS[named[1]] | {"--help"} if named else anywhere
            assert set(LONG_OPTION.findall(part)) <= known, part


@pages
def test_every_yaml_block_is_a_configuration(page):
    for language, block in FENCE.findall(page.read_text()):
        if language == "yaml" and re.search(r"^(model|stream):", block, re.MULTILINE):
            config.parse(yaml.safe_load(block), where=page.name)


def test_the_papers_stream_is_a_configuration_of_known_formats():
    parsed = config.parse(
        yaml.safe_load((EXAMPLES / "paper_stream.yaml").read_text()), where="examples/paper_stream.yaml"
    )
    assert len(parsed.stream) == 6
    assert {dataset.format for dataset in parsed.stream} <= set(dataset_format.names())


def test_the_example_stream_is_a_configuration():
    parsed = config.parse(yaml.safe_load((EXAMPLES / "stream.yaml").read_text()), where="examples/stream.yaml")
    assert cap_of(parsed) == 100_000


def section_of(annotation):
    """Return the type of a setting; of a section that may be left out the section."""
    kinds = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, config.Section)]
    return kinds[0] if kinds else annotation


@pages
def test_every_setting_in_the_text_exists(page):
    sections = "|".join(config.RunConfig.model_fields)
    dotted = re.compile(rf"(?:--set )?((?:{sections})(?:\.[a-z_]+)+)(?:[=:].*)?")
    endings = ("md", "py", "json", "jsonl", "yaml", "parquet", "npy", "part")
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        match = dotted.fullmatch(code)
        if match and match[1].split(".")[-1] not in endings:
            place = config.RunConfig
            for key in match[1].split("."):
                assert key in place.model_fields, f"{page.name}: {code}"
                place = section_of(place.model_fields[key].annotation)


@pages
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pages
def test_every_module_and_file_of_the_package_in_the_text_exists(page):
    text = page.read_text()
    for path in re.findall(r"(?<![\w/.-])adaptinf(?:/[\w-]+(?:\.\w+)?)+", text):
        assert (ROOT / path).exists(), path
    for name in set(re.findall(r"(?<![\w/.-])adaptinf(?:\.[A-Za-z_]\w*)+", text)) - {ENTRY_POINTS}:
        pkgutil.resolve_name(name)
    # The map names files below the heading of their folder, and is generated.
    for path in re.findall(r"`((?:\w+/)*\w+\.py)`", text) if page.name != "map.md" else []:
        places = [page.parent / path, ROOT / path, ROOT / "adaptinf" / path]
        assert path.startswith("my_") or any(place.exists() for place in places), path


def test_no_retired_word_is_used():
    """docs/glossary.md has the words to use."""
    named = {path.relative_to(ROOT).as_posix(): path for pattern in PROSE for path in ROOT.glob(pattern)}
    assert named.keys() >= EXEMPT and len(named) > 100
    lines = [(name, line) for name in named.keys() - EXEMPT for line in named[name].read_text().splitlines()]
    assert sorted((name, line) for name, line in lines if RETIRED.search(line)) == []


def test_retired_words_are_found():
    text = "It was Mended by\nwhoever foresees"
    assert [word.lower() for word in RETIRED.findall(text)] == ["mended", "whoever", "foresees"]
    assert RETIRED.search("drawn by lot") and not RETIRED.search("amended, recommended, by lots")


def test_every_error_class_has_a_section_in_the_troubleshooting_page():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) >= 5
    for error in classes:
        section = page.partition(f"\n### {error.__name__}\n")[2].partition("\n##")[0]
        assert section.count("\n| `") >= 1, f"{error.__name__} has no section with a message"


def literal_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module, with a null character for what an f-string puts in."""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.FormattedValue):
            call = node.value
            is_count = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "counted"
            return f"\0 {ast.literal_eval(call.args[1])}s" if is_count else "\0"
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(map(text, node.values))
        elif isinstance(node, ast.Constant):
            yield text(node)


def message_parts(page: str) -> Iterator[str]:
    """Yield the parts of the messages in a page's tables: two words or more between names, numbers and `...`."""
    for line in page.splitlines():
        for message in re.findall(r"`([^`]+)`", line.split(" | ")[0]) if line.startswith("| `") else []:
            parts = [part.strip(" ,;:()=[]") for part in re.split(r"\.\.\.|<image>|\b[A-Z]\b|\d[\d,]*", message)]
            yield from (part for part in parts if len(part.split()) > 1)


MESSAGE_TABLES = {"troubleshooting.md": "## Common situations", "your-data.md": "In Python:"}
"""Pages whose tables list messages, and where these tables end."""


@pytest.mark.parametrize("name", MESSAGE_TABLES)
def test_every_listed_message_is_one_of_the_code(name):
    files = (ROOT / "adaptinf").rglob("*.py")
    texts = "\0".join(text for path in files for text in literal_texts(ast.parse(path.read_text())))
    parts = list(message_parts((ROOT / "docs" / name).read_text().partition(MESSAGE_TABLES[name])[0]))
    assert len(parts) >= 20
    assert [part for part in parts if part not in texts] == []


def test_a_message_is_compared_by_its_words():
    tree = ast.parse("""raise E(f"{path} has {counted(n, 'image')} but {m}" f"; keep {x}")""")
    assert "\0 has \0 images but \0; keep \0" in list(literal_texts(tree))
    table = "| message | what |\n|---|---|\n| `... has N images but 3 tags; ...`, `gone` | Delete `both of them`. |\n"
    assert list(message_parts(table)) == ["images but"]


def test_the_api_page_has_every_public_function():
    page = (ROOT / "docs" / "api.md").read_text()
    named = re.findall(r"^::: (\S+)", page, re.MULTILINE) + [
        f"{module}.{member}"
        for module, members in re.findall(r"^::: (\S+)\n(?:    .*\n)*?      members: \[(.*)\]", page, re.MULTILINE)
        for member in members.split(", ")
    ]
    documented = [pkgutil.resolve_name(path) for path in named]
    public = [*SIGNATURES, *(f"adaptinf.api:{name}" for name in api.__all__)]
    assert [place for place in public if pkgutil.resolve_name(place) not in documented] == []


RUNNER = """
import json, sys
from adaptinf import registry
scopes = {}
for place, block in json.load(sys.stdin):
    # What one page registers is unknown to the others.
    scope = scopes.setdefault(place.split(",")[0], registry.open_scope())
    try:
        with scope.active():
            exec(compile(block, place, "exec"), {"__name__": "__main__"})
    except BaseException:
        print("in", place, file=sys.stderr)
        raise
"""


def run_blocks(blocks: list[tuple[str, str]]) -> str:
    """Return what pieces of code print, run in another process: what they register must not reach other tests."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(blocks),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_marked_blocks_run():
    blocks = [
        (f"{page.name}, block {number}", block)
        for page in PAGES
        if page not in (*SHELL_PAGES, *PROGRAM_PAGES)
        for number, block in enumerate(RUN.findall(page.read_text()), 1)
    ]
    assert len(blocks) >= 10
    printed = run_blocks(blocks)
    assert "[10 10]" in printed and "DataError missing.json does not exist" in printed


@pytest.mark.heavy
@pytest.mark.parametrize("page", SHELL_PAGES, ids=lambda page: page.name)
def test_pages_with_shell_code_run_from_top_to_bottom_and_print_what_they_show(page, tmp_path):
    command = tmp_path / "bin" / "adaptinf"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m adaptinf "$@"\n')
    command.chmod(0o755)
    (tmp_path / "work").mkdir()
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    start = {"python": [sys.executable, "-W", "error", "-c"], "sh": ["sh", "-e", "-c"]}
    steps = STEP.findall(page.read_text())
    for language, block, shown in steps:
        words = [*start[language], block]
        done = subprocess.run(words, cwd=tmp_path / "work", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert shown in done.stdout
    assert any(shown for *_, shown in steps)


PROGRAM = """
import contextlib, io, json, sys
names, printed = {"__name__": "__main__"}, []
for number, block in enumerate(json.load(sys.stdin), 1):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block, f"block {number}", "exec"), names)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("page", PROGRAM_PAGES, ids=lambda page: page.name)
def test_pages_that_are_one_program_run_and_print_what_they_show(page, tmp_path):
    steps = STEP.findall(page.read_text())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        input=json.dumps([block for _, block, _ in steps]),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for (_, block, shown), printed in zip(steps, json.loads(done.stdout), strict=True):
        assert shown in re.sub(r" +$", "", printed, flags=re.MULTILINE), block


def test_some_pages_have_shell_code_or_are_one_program():
    assert ROOT / "docs" / "select-only.md" in SHELL_PAGES
    assert ROOT / "docs" / "python.md" in PROGRAM_PAGES


def test_the_page_about_python_calls_every_command():
    page = (ROOT / "docs" / "python.md").read_text()
    called = set(re.findall(r"\bapi\.(\w+)\(", page))
    # `watch` is `status --watch`; what a shell completes is nothing for Python.
    assert called - {"watch"} == {name.replace("-", "_") for name in OPTIONS} - {"completion"}


EXAMPLE_PLUGINS = """
import sys
import numpy as np
from adaptinf import registry
from adaptinf.scoring import ForwardPass
from adaptinf.selection import select

registry.load_plugins(["examples/my_scores.py", "examples/my_selector.py"])
one = np.ones(3)
outcome = ForwardPass(sample_T=np.array([0, 0, 2]), loss_T=np.array([1.0, 3.0, 2.0]), entropy_T=one, error_T=one,
                      gradient_norm_B=one, loss_without_images_B=np.full(3, np.nan))
np.testing.assert_array_equal(registry.scorer["hardest_token"]()(outcome), [3.0, np.nan, 2.0])
chosen = select({"el2n": [0.1, 0.9, np.nan, 0.5]}, None, list("abcd"), 2, method="largest")
assert list(chosen.ids) == ["b", "d"], chosen.ids
assert "torch" not in sys.modules
"""


def test_the_example_plugins_register_and_work():
    run_blocks([("examples", EXAMPLE_PLUGINS)])


def test_the_example_without_a_model_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "select_only.py"], capture_output=True, text=True, check=True
    )
    assert "chosen: 60 ids" in done.stdout and "240 stay" in done.stdout


def test_no_machine_path_is_in_the_documentation():
    for page in [*PAGES, *EXAMPLES.iterdir()]:
        if page.is_file():
            assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", page.read_text()) == [], page.name


REFERENCE = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text()


def test_the_references_are_what_the_code_says():
    """`python scripts/reference.py` writes them."""
    assert REFERENCE["commands_page"](COMMANDS_PAGE) == COMMANDS_PAGE, "run python scripts/reference.py"
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    assert REFERENCE["metrics_page"](metrics) == metrics, "run python scripts/reference.py"
    settings = (ROOT / "docs" / "reference-config.md").read_text()
    assert settings == REFERENCE["config_page"](), "run python scripts/reference.py"

    assert (ROOT / "docs" / "map.md").read_text() == REFERENCE["map_page"](), "run python scripts/reference.py"


def test_a_commands_page_without_one_of_the_commands_is_refused():
    with pytest.raises(ValueError, match=r"sections for \['accept', 'add'"):
        REFERENCE["commands_page"](COMMANDS_PAGE.replace("<!-- command: step -->", ""))


def test_the_page_of_metrics_needs_its_table_and_has_every_metric_with_its_options():
    with pytest.raises(ValueError, match="no table"):
        REFERENCE["metrics_page"]("# Answer metrics")
    stale = "<!-- metrics -->\nwritten long ago\n<!-- end of metrics -->"
    page = REFERENCE["metrics_page"](stale)
    assert "long ago" not in page and page.count("\n| `") == len(registry.metric.names())
    assert "| `numbers` |" in page and "`tolerance`: number (`0.0`) |" in page


def test_a_stale_section_of_the_commands_page_is_generated_again():
    stale = COMMANDS_PAGE.replace("### adaptinf step FOLDER", "### adaptinf step OLD")
    assert stale != COMMANDS_PAGE and REFERENCE["commands_page"](stale) == COMMANDS_PAGE


def test_the_map_names_every_file_with_a_description():
    page = (ROOT / "docs" / "map.md").read_text()
    package = ROOT / "adaptinf"
    whole = tuple(f"{name}/" for name in REFERENCE["WHOLE_FOLDERS"])
    files = [path.relative_to(package) for path in package.rglob("*.py")]
    for file in (file for file in files if not file.as_posix().startswith(whole)):
        heading = (Path("adaptinf") / file.parent).as_posix()
        section = page.partition(f"\n## {heading}/\n")[2].partition("\n## ")[0]
        pattern = r"\n\w.+" if file.name == "__init__.py" else rf"\n\| `{re.escape(file.name)}` \| \S.* \|\n"
        assert re.match(pattern, section) if file.name == "__init__.py" else re.search(pattern, section), file
    assert all((ROOT / folder).is_dir() for folder in REFERENCE["TOP_FOLDERS"])


def test_the_references_name_every_option_and_every_setting():
    sections = {found["name"]: found[0] for found in REFERENCE["MARKED"].finditer(COMMANDS_PAGE)}
    assert sections.keys() == OPTIONS.keys()
    for name, options in OPTIONS.items():
        named = set(LONG_OPTION.findall(re.sub(r"\|[^|]*\|$", "", sections[name], flags=re.M)))
        assert named == {option for option in options if option.startswith("--")} - {"--help"}
    settings = (ROOT / "docs" / "reference-config.md").read_text()
    for section in ("model", "data", "extraction", "clustering", "selection", "training", "pruning"):
        for key, field in config.RunConfig.model_fields[section].annotation.model_fields.items():
            assert f"`{section}.{key}`" in settings or f"\n### {section}.{key}\n" in settings, field


def build_site(docs: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run `mkdocs build --strict` on documentation that a test may have spoilt (with --quiet it would never fail)."""
    settings = (ROOT / "mkdocs.yml").read_text().replace("docs_dir: docs", f"docs_dir: {docs}")
    settings = settings.replace("hooks: [scripts/", f"hooks: [{ROOT}/scripts/")
    (out / "mkdocs.yml").write_text(settings)
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        out / "mkdocs.yml",
        "-d",
        out / "site",
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.mark.heavy
def test_the_site_builds_and_asks_nobody_for_anything(tmp_path):
    done = build_site(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {path.stem: path.read_text() for path in (tmp_path / "site").glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?((?:https?:)?//[^\" >]+)", page)
        assert loaded == [], f"{name} loads {loaded}"
    assert (tmp_path / "site" / "examples" / "my_scores.py").read_text() == (EXAMPLES / "my_scores.py").read_text()
    assert 'href="examples/my_scores.py"' in pages["add-a-scorer"]


@pytest.mark.heavy
@pytest.mark.parametrize("mistake", ["[gone](gone.md)", "[gone](pool.md#gone)"])
def test_the_site_does_not_build_with_a_link_that_leads_nowhere(tmp_path, mistake):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs" / "pool.md").open("a") as page:
        page.write(f"\n{mistake}\n")
    done = build_site(tmp_path / "docs", tmp_path)
    assert done.returncode != 0 and "gone" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("Type `adaptinf remove`.", test_every_command_exists),
        ("Type `adaptinf step --fast`.", test_every_option_belongs_to_its_command),
        ("Type `adaptinf step FOLDER --budget 3`.", test_every_option_belongs_to_its_command),
        ("Set `selection.budgt`.", test_every_setting_in_the_text_exists),
        ("```yaml\nmodel: {path: x}\nselection: {budgt: 3}\n```", test_every_yaml_block_is_a_configuration),
        ("```yaml\nmodel: {path: x, lora: {ranks: 3}}\n```", test_every_yaml_block_is_a_configuration),
        ("See [there](gone.md).", test_every_link_leads_somewhere),
    ],
)
def test_these_checks_fail_on_a_page_that_is_wrong(tmp_path, text, check):
    """A check that cannot fail checks nothing."""
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{text}\n")
    with pytest.raises((AssertionError, config.ConfigError)):
        check(page)
