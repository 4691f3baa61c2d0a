"""The unit of systemd: sound, locked down, and fit for the program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mitm.option import TABLE, VARIABLES, parse_variables
from registry_proxy import ROOT, serve
from resolver.upstream.outgoing import Proxies
from tests.integration.tool import find_tool, run

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "registry-proxy.service"
SETTINGS = (FOLDER / "registry-proxy.env").read_text()
EXPOSURE_MAX = 2.5
MDWE_MISSING = 77
"""The status of a program whose kernel does not know how to refuse that."""
OF_THE_UNIT = {"CONFDIR"}
"""Set by the unit itself."""
NOT_OF_A_SERVICE = {"WEB_PORT"}
OUTGOING = {"HTTPS_PROXY", "NO_PROXY"}
"""What is in no table of ours, as every program reads it."""
_SETTING = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def unit(name: str) -> list[str]:
    """Return what the unit sets by that name, in its order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_unit_is_sound(tmp_path: Path) -> None:
    """Nothing is to be said about it by systemd; its program is the tests' own."""
    (command,) = unit("ExecStart")
    program, _, words = command.partition(" ")
    assert words == "run"
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(program, sys.executable))
    said = run(find_tool("systemd-analyze"), "verify", copy, environment=os.environ)
    assert said == ""


def test_unit_is_locked_down() -> None:
    """What could be reached from it is little."""
    words = ("security", "--offline=true", "--no-pager", UNIT)
    told = run(find_tool("systemd-analyze"), *words, environment=os.environ)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure
    assert float(exposure[1]) < EXPOSURE_MAX


def test_transfers_have_their_time_to_finish() -> None:
    """It is killed only after its grace period, and can have all files it asks for."""
    (seconds,) = unit("TimeoutStopSec")
    grace = next(row.default for row in TABLE if row.variable == "GRACE_PERIOD")
    assert int(seconds) >= int(grace) + 5
    assert unit("LimitNOFILE") == [str(serve.OPEN_FILES)]
    assert unit("CacheDirectoryMode") == ["0700"]
    assert "CONFDIR=%S/registry-proxy" in unit("Environment")[0]


def test_settings_are_all_and_right(tmp_path: Path) -> None:
    """Every variable is shown once or more, with a value that can be used."""
    (folder,) = unit("CacheDirectory")
    assert f"#CACHE=/var/cache/{folder}\n" in SETTINGS
    settings = _SETTING.findall(SETTINGS)
    names = {name for name, _ in settings}
    assert names - OUTGOING == {*VARIABLES} - OF_THE_UNIT - NOT_OF_A_SERVICE
    assert Proxies.of(dict(settings))
    for name, value in settings:
        if name not in {"TLS_CERT", "TLS_KEY", "PULLS_TOKEN", "CACHE"}:
            others = {"BLOBS": "follow", "CACHE": str(tmp_path)}
            if name == "REALM_HOSTS":
                others["NAMES"] = "registry"
            parse_variables(others | {name: value})
    active = dict(re.findall(r"^([A-Z]\w*)=(.*)$", SETTINGS, re.MULTILINE))
    assert serve.mitmdump_arguments(active)


@pytest.mark.server
def test_program_needs_no_memory_that_becomes_code(tmp_path: Path) -> None:
    """It serves where the kernel refuses that, as MemoryDenyWriteExecute has it."""
    program = (
        "import ctypes, runpy, sys\n"
        "prctl = ctypes.CDLL(None, use_errno=True).prctl\n"
        f"sys.exit({MDWE_MISSING}) if prctl(65, 1, 0, 0, 0) else None\n"
        "sys.argv[1:] = ['demo', '--once']\n"
        "runpy.run_module('registry_proxy', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "CONFDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == MDWE_MISSING:
        pytest.skip("this kernel is older than 6.3, and cannot refuse it")
    assert done.returncode == 0, done.stderr
    assert "all digests as they should be" in done.stdout
