"""What is released: its files, the same bytes each time, and one version everywhere."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from datetime import date
from pathlib import Path

import pytest

from mitm.version import VERSION
from registry_proxy import ROOT
from tests.integration.tool import run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
NAME = f"balena_registry_proxy-{VERSION}"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""What Keep a Changelog sorts changes into."""

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="what is released is made of a commit"
)


def build(folder: Path) -> dict[str, bytes]:
    """Return what `make dist` makes of the last commit."""
    subprocess.run(
        [ROOT / "tools" / "dist", folder],
        env={"PATH": "/usr/bin:/bin", "VENV": sys.prefix},
        capture_output=True,
        check=True,
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def committed() -> set[str]:
    """Return the files of the last commit."""
    command = ("git", "-C", ROOT, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    return set(run(*command, environment={"PATH": "/usr/bin:/bin"}).split("\0")) - {""}


def test_same_commit_makes_the_same_bytes(tmp_path: Path) -> None:
    """What is released can be built again by anybody, and compared."""
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    assert set(first) == {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"}
    assert first == second


def test_source_distribution_is_the_commit(tmp_path: Path) -> None:
    """It has all files of it, and nothing of the machine that it was built on."""
    build(tmp_path)
    told = (str(ROOT), str(tmp_path))
    with tarfile.open(tmp_path / f"{NAME}.tar.gz") as archive:
        entries = archive.getmembers()
        assert {entry.name for entry in entries} == {
            f"{NAME}/{name}" for name in committed() | {"PKG-INFO"}
        }
        assert {(each.uname, each.gname, each.uid) for each in entries} == {("", "", 0)}
        texts = {
            each.name: file.read()
            for each in entries
            if (file := archive.extractfile(each))
        }
    with zipfile.ZipFile(tmp_path / f"{NAME}-py3-none-any.whl") as wheel:
        texts |= {name: wheel.read(name) for name in wheel.namelist()}
    for name, text in texts.items():
        assert not [word for word in told if word.encode() in text], name


def test_demo_needs_the_same_everywhere() -> None:
    """The extra of the wheel is what a checkout installs for localcloud."""
    assert (
        PROJECT["project"]["optional-dependencies"]["demo"]
        == PROJECT["dependency-groups"]["localcloud"]
    )


def test_version_is_one() -> None:
    """The project, the program and the newest section of the changelog agree."""
    newest, day = re.findall(r"^## \[(\d\S*)\] - (\S+)$", CHANGELOG, re.MULTILINE)[0]
    assert PROJECT["project"]["version"] == newest == VERSION
    date.fromisoformat(day)


def test_changelog_keeps_its_form() -> None:
    """Sections go from the newest to the oldest, kinds and topics in one order."""
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    days = [heading.partition(" - ")[2] for heading in headings[1:]]
    assert days == sorted(days, reverse=True)
    for section in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]
        for kind in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
            entries = re.findall(r"^- .*$", kind, re.MULTILINE)
            topics = re.findall(r"^- \*\*(.+?)\*\*: \S", kind, re.MULTILINE)
            assert len(topics) == len(entries)
            assert topics == sorted(topics, key=str.lower)
