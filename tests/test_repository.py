"""What stands around the package: one version, a citation, templates and checks that name what exists."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import yaml

import adaptinf
from adaptinf.cli import app

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def parsed(name: str):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_version_stands_once_and_the_citation_repeats_it():
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    citation = parsed("CITATION.cff")
    assert str(citation["version"]) == adaptinf.__version__
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_has_an_entry_for_the_version():
    assert re.search(rf"^## \[{re.escape(adaptinf.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_citation_names_the_paper_and_its_authors():
    [paper] = parsed("CITATION.cff")["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Maharana", "Yoon", "Chen", "Bansal"]
    assert paper["url"].endswith("/2410.10636")


def test_the_workflow_runs_the_projects_own_check_on_the_oldest_python_that_is_supported():
    [job] = parsed(".github/workflows/ci.yml")["jobs"].values()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR
    [version] = [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})]
    assert PROJECT["requires-python"] == f">={version}"


def test_the_hooks_before_a_commit_are_the_checks_of_make_check():
    rule = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule
    checks = [line.split("/", 1)[1].split() for line in rule[1].splitlines()]
    [local] = parsed(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local" and all(hook["language"] == "system" for hook in local["hooks"])
    hooks = [hook["entry"].removeprefix(".venv/bin/").split() for hook in local["hooks"]]
    # A hook gets the names of files instead of ".", and may repair what the check only reports.
    extra = {".", "--check", "--fix", "--force-exclude"}
    assert [[word for word in hook if word not in extra] for hook in hooks] == [
        [word for word in check if word not in extra] for check in checks
    ]


def test_the_issue_templates_ask_for_commands_that_exist():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    templates = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [path.stem for path in templates] == ["bug", "feature", "wrong-result"]
    for path in templates:
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "labels", "body"} <= set(template)
        assert len({field["id"] for field in template["body"]}) == len(template["body"])
        assert set(re.findall(r"`adaptinf ([a-z]+)", path.read_text(encoding="utf-8"))) <= commands
    assert "adaptinf doctor" in (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")


def test_tests_import_helpers_and_no_other_tests():
    """What several test files share lies in tests/helpers/, and the slow, obvious extraction beside its tests."""
    wrong = [
        (path.name, module)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for module in re.findall(r"^(?:from|import) (tests\.[\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if not module.startswith("tests.helpers.") and module != "tests.extraction.reference"
        if not module.endswith(".conftest")
        # The attack on run folders is a program of its own.
        if not (path.parent.name == "chaos" and module.startswith("tests.chaos"))
    ]
    assert wrong == []


def test_the_heavy_places_exist():
    from tests.conftest import HEAVY_PLACES

    assert [place for place in HEAVY_PLACES if not (ROOT / "tests" / place).exists()] == []
