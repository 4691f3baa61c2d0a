"""The scripts in tools/ say what they do, and refuse what they cannot do."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from mitm.version import VERSION
from registry_proxy import ROOT

TOOLS = sorted((ROOT / "tools").iterdir(), key=lambda path: path.name)
SHELL = "/usr/bin:/bin"

DOCKER = """#!/bin/sh
case $* in
--version) echo Docker version 28.3.2 ;;
"buildx version") {buildx} ;;
"image inspect"*) exit 1 ;;
*) printf '%s\\n' "$@" >"$CALLED" && exit {status} ;;
esac
"""
"""Stands for a builder, because none here builds for other machines."""


def call(tool: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return subprocess.run(
        [ROOT / "tools" / tool, *words],
        env={"PATH": SHELL, "HOME": "/nowhere", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_help(path: Path) -> None:
    """Each shows how it is called, whatever it needs, and does nothing."""
    for flag in ("--help", "-h"):
        done = call(path.name, flag)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"  tools/{path.name}" in done.stdout
        assert "#" not in done.stdout.splitlines()[0]


def test_no_archive_goes_to_a_terminal() -> None:
    """It says to which program it belongs."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [ROOT / "tools" / "base-image"],
        env={"PATH": SHELL, "PYTHON": sys.executable},
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    assert done.returncode == 2
    assert "tools/base-image | docker import - python-base" in done.stderr
    with pytest.raises(OSError, match="Input/output error"):
        os.read(ours, 1)
    os.close(ours)


def builder(folder: Path, *, buildx: str = "true", status: int = 0) -> dict[str, str]:
    """Return the variables of a builder that writes down how it was called."""
    program = folder / "docker"
    program.write_text(DOCKER.format(buildx=buildx, status=status))
    program.chmod(0o755)
    return {"CONTAINER": str(program), "CALLED": str(folder / "called")}


def test_image_for_several_machines(tmp_path: Path) -> None:
    """They are handed to the builder, with its own arguments and both names."""
    variables = builder(tmp_path)
    machines = "linux/amd64,linux/arm64"
    base = "python:3.13-slim@sha256:ab"
    done = call("image", "--push", PLATFORMS=machines, PYTHON_IMAGE=base, **variables)
    assert (done.returncode, done.stdout) == (0, "")
    called = (tmp_path / "called").read_text().splitlines()
    expected = ["buildx", "build", "--platform", machines, "--push"]
    names = ["--tag", "registry-proxy", "--tag", f"registry-proxy:{VERSION}"]
    assert called[: len(expected + names)] == expected + names
    assert "org.opencontainers.image.base.digest=sha256:ab" in called


def test_image_without_what_builds_for_several(tmp_path: Path) -> None:
    """It is said what is missing, and nothing is built."""
    variables = builder(tmp_path, buildx="exit 1")
    done = call("image", PLATFORMS="linux/amd64,linux/arm64", **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("tools/image: PLATFORMS: ")
    assert "install docker-buildx, or use CONTAINER=podman" in done.stderr
    assert not (tmp_path / "called").exists()
    done = call("image", CONTAINER="nothing")
    assert done.stderr.startswith("tools/image: there is no nothing; ")


def test_image_without_a_base(tmp_path: Path) -> None:
    """Where none can be pulled, it is told how to make one."""
    done = call("image", **builder(tmp_path, status=1))
    assert done.returncode == 1
    assert "python:3.13-slim is not here" in done.stderr
    assert "| " in done.stderr
    assert "make image PYTHON_IMAGE=python-base" in done.stderr


def test_make_hands_arguments_to_the_builder(tmp_path: Path) -> None:
    """What BUILD_ARGS has are words of their own."""
    subprocess.run(
        ["make", "image", "BUILD_ARGS=--no-cache --network=host", "PLATFORMS=a/b"],
        cwd=ROOT,
        env={"PATH": SHELL, **builder(tmp_path)},
        capture_output=True,
        check=True,
    )
    called = (tmp_path / "called").read_text().splitlines()
    assert called[2:6] == ["--platform", "a/b", "--no-cache", "--network=host"]


def test_release_notes() -> None:
    """They are the changelog's, for the tag of this version and no other."""
    notes = call("release-notes", f"v{VERSION}").stdout
    assert "### Added" in notes
    assert "## [" not in notes
    done = call("release-notes", "v0.0.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"use v{VERSION}" in done.stderr
