"""The workflows and forms of .github: sound by the published schemas, and careful."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from registry_proxy import ROOT

FOLDER = ROOT / ".github"
FORMS = FOLDER / "ISSUE_TEMPLATE"
WORKFLOWS = sorted((FOLDER / "workflows").iterdir())
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "vendor.github-workflows"),
    FOLDER / "dependabot.yml": "vendor.dependabot",
    FORMS / "config.yml": "vendor.github-issue-config",
    FORMS / "idea.yml": "vendor.github-issue-forms",
    FORMS / "pull.yml": "vendor.github-issue-forms",
}
_PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
ALLOWED = {"contents", "packages", "id-token", "attestations"}


def load(path: Path) -> Any:
    """Return a workflow; a key that stands there twice is an error."""
    return YAML(typ="safe", pure=True).load(path.read_text())


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_schema(path: Path) -> None:
    """It is what the published schema says."""
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema")
    done = subprocess.run(
        [*check, SCHEMAS[path], path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_has_a_schema() -> None:
    """No file of .github is left out, but for the text of a change."""
    files = {path for path in FOLDER.rglob("*") if path.is_file()}
    assert files - {*SCHEMAS} == {FOLDER / "PULL_REQUEST_TEMPLATE.md"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_may_do_little(path: Path) -> None:
    """Actions are pinned to commits, jobs have an end, and rights are given by job."""
    for line in path.read_text().splitlines():
        if "uses:" in line and "uses: ./" not in line:
            assert _PINNED.search(line), line
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job
        assert set(job.get("permissions", {})) <= ALLOWED
        for step in job.get("steps", ()):
            # What others write into a title or a branch is never part of a script.
            assert "${{" not in step.get("run", "")
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_ci_runs_what_everybody_runs() -> None:
    """.ci/run is all that there is, and it is there."""
    (job,) = load(FOLDER / "workflows" / "ci.yaml")["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    assert (ROOT / ".ci" / "run").exists()


def test_release_is_tested_first_and_signed() -> None:
    """Nothing is pushed before the tests passed, nor released before all is there."""
    jobs = load(FOLDER / "workflows" / "release.yaml")["jobs"]
    needs = {name: job.get("needs") for name, job in jobs.items()}
    assert needs == {
        "version": None,
        "test": "version",
        "build": "test",
        "attest": "build",
        "image": "test",
        "release": ["attest", "image"],
        "pypi": "release",
    }
    scripts = "\n".join(
        step["run"]
        for job in jobs.values()
        for step in job.get("steps", ())
        if "run" in step
    )
    for tool in re.findall(r"tools/[\w-]+", scripts):
        assert (ROOT / tool).exists()
    for target in re.findall(r"^ *make ([\w-]+)", scripts, re.MULTILINE):
        assert f"\n{target}: " in (ROOT / "Makefile").read_text()
    # Who builds runs the code of others, and so may sign nothing.
    assert "permissions" not in jobs["build"]
    assert "cosign sign" in scripts
