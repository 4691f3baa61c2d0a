"""What make removes, and what it writes about the proxy."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from mitmproxy.certs import Cert

from registry_proxy import ROOT, trust


def make(folder: Path, *words: str) -> str:
    """Return what make prints in the folder; nothing is installed for it."""
    done = subprocess.run(
        ["make", "--old-file=install", f"VENV={sys.prefix}", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder with the Makefile, an authority, and what targets made."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    trust.authority_file(tmp_path / ".mitmproxy")
    (tmp_path / "resolver" / "__pycache__").mkdir(parents=True)
    (tmp_path / "venv").mkdir()
    return tmp_path


def test_clean_keeps_the_authority(used: Path) -> None:
    """Clients were told to trust it, and no target makes the same again."""
    before = {path.name for path in (used / ".mitmproxy").iterdir()}
    make(used, "clean", "VENV=venv")
    assert {path.name for path in (used / ".mitmproxy").iterdir()} == before
    assert not (used / "resolver" / "__pycache__").exists()
    assert not (used / "venv").exists()


def test_distclean_says_which_authority_it_removes(used: Path) -> None:
    """Its folder, and its fingerprint as clients show it, stand there before."""
    pem = trust.authority_file(used / ".mitmproxy").read_bytes()
    fingerprint = Cert.from_pem(pem).fingerprint().hex(":").upper()
    told = make(used, "distclean", "VENV=venv")
    assert not (used / ".mitmproxy").exists()
    said, _, done = told.partition("rm -rf .mitmproxy")
    assert done
    assert "removing .mitmproxy and the certificate authority" in said
    assert fingerprint in said
    # With none there is nothing to say.
    assert "removing" not in make(used, "distclean", "VENV=venv")


def test_bill_of_materials(tmp_path: Path) -> None:
    """It is valid, the same each time, and has what requirements.txt pins."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for path in (first, second):
        make(ROOT, "sbom", f"OUT={path}")
    text = first.read_text()
    assert text == second.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    pins = (ROOT / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==([\w.]+)", pins, re.MULTILINE))
    components = bill["components"]
    assert {(each["name"], each["version"]) for each in components} == pinned
    assert all(
        reference["hashes"]
        for each in components
        for reference in each["externalReferences"]
    )
    assert bill["metadata"]["component"]["name"] == "balena-registry-proxy"
