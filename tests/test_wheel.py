"""The wheel: what is in it, and that all of it works where it is installed.

It is installed beside the packages that the tests have, far from the checkout.
"""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from localcloud import LocalCloud
from localcloud.sample import sample_images
from mitm.version import VERSION
from registry_proxy import ROOT
from registry_proxy.command import COMMANDS
from registry_proxy.port import free_port
from tests.client.client import Skopeo
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.tool import run, running

SERVED_IN_WORDS = "is the greatest final release of 2.3.x"


@dataclass(frozen=True, slots=True)
class Installation:
    """A virtual environment with the wheel, and an empty folder as home."""

    folder: Path
    home: Path

    @property
    def package(self) -> Path:
        """The folder that the wheel became."""
        (path,) = self.folder.glob("lib/python*/site-packages/registry_proxy")
        return path

    @property
    def environment(self) -> dict[str, str]:
        """What its user has set: nothing."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, *words: str, **variables: str) -> str:
        """Return what `registry-proxy` prints, called from the empty folder."""
        return run(
            self.folder / "bin" / "registry-proxy",
            *words,
            environment=self.environment | variables,
        )

    def files(self) -> set[Path]:
        """Return what is where packages are installed."""
        return set(self.package.parent.rglob("*"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the code as it is, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel alone."""
    folder = tmp_path_factory.mktemp("installation")
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    options = ("--no-index", "--no-deps", "--offline", "--no-cache", "--no-config")
    python = folder / "venv" / "bin" / "python"
    run(
        *(uv, "pip", "install", *options, "--python", python, wheel),
        environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    home = folder / "home"
    home.mkdir()
    return Installation(folder / "venv", home)


@pytest.fixture
def installed(
    bare: Installation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """The wheel beside the packages that it needs, used from an empty folder."""
    beside = bare.package.parent / "beside.pth"
    beside.write_text(sysconfig.get_path("purelib"))
    monkeypatch.chdir(bare.home)
    yield bare
    beside.unlink()


@pytest.fixture(autouse=True)
def unwritten(installed: Installation) -> Iterator[None]:
    """Nothing may be written to where packages are installed."""
    before = installed.files()
    yield
    assert installed.files() == before


def test_one_name_is_taken(wheel: Path) -> None:
    """Whatever else is installed, nothing of it is called `report` or `demo`."""
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert names == {
        "registry_proxy",
        f"balena_registry_proxy-{VERSION}.dist-info",
    }
    assert wheel.name == f"balena_registry_proxy-{VERSION}-py3-none-any.whl"


def test_every_room_is_whole(wheel: Path) -> None:
    """Each file of the rooms is in it, templates and data too, and none besides."""
    inside = "registry_proxy/"
    shipped = {
        name.removeprefix(inside)
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith(inside)
    }
    rooms = {name.partition("/")[0] for name in shipped if "/" in name}
    there = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    package = {path.name for path in (ROOT / "registry_proxy").glob("*.py")}
    assert shipped == there | package | {"addon.py", "mitm.conf"}
    modules = {command.module.partition(".")[0] for command in COMMANDS.values()}
    assert modules - {"registry_proxy"} <= rooms


def test_help(installed: Installation) -> None:
    """The command describes itself, and each of its commands."""
    shown = installed("--help")
    for name in COMMANDS:
        assert f"  {name} " in shown
        assert installed(name, "--help").startswith(f"usage: registry-proxy {name} ")
    assert installed("--version") == f"registry-proxy {VERSION}\n"


def test_what_the_demo_lacks_is_said(bare: Installation) -> None:
    """Without the extra, one line says what to install."""
    done = subprocess.run(
        [bare.folder / "bin" / "python", "-c", LACKING],
        env={**bare.environment, "RUNTIME": sysconfig.get_path("purelib")},
        cwd=bare.home,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "registry-proxy: demo needs odata_query, which is not installed; install the"
        " wheel with its extra: pipx install --force"
        f" './balena_registry_proxy-{VERSION}-py3-none-any.whl[demo]'\n"
    )


LACKING = """
import os, sys
sys.path.append(os.environ["RUNTIME"])
sys.modules["odata_query"] = None
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "odata_query":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
del sys.modules["odata_query"]
sys.meta_path.insert(0, Absent())
from registry_proxy.__main__ import main
sys.exit(main(["demo", "--once"]))
"""
"""Calls the demo where all packages are but that of the extra."""


def test_demo(installed: Installation) -> None:
    """The sample release is pulled, and the authority is kept in the user's home."""
    port = str(free_port())
    assert "Pulled 6.3 MB" in installed("demo", "--once", PROXY_PORT=port)
    kept = installed.home / ".local" / "share" / "registry-proxy"
    assert (kept / "mitmproxy-ca.pem").exists()
    assert (kept / "config.yaml").resolve() == installed.package / "mitm.conf"


def test_resolve_trust_and_report(installed: Installation) -> None:
    """A name is explained, trust is told, and a page made of what was recorded."""
    flows = installed.home / "flows"
    with LocalCloud() as cloud:
        api = {"API_URL": cloud.api_url}
        said = installed("resolve", "balenablocks/browser-aarch64:2.3", **api)
        assert SERVED_IN_WORDS in said
        with serving(installed, cloud, "--", "-w", str(flows)) as port:
            assert ping(port)
            pull(port, installed.home / "recorded")
    page = installed.home / "page.html"
    installed("report", str(flows), "-o", str(page))
    assert ALIAS in page.read_text()
    assert "update-ca-certificates" in installed("trust", "registry.example.com")


def test_run(installed: Installation, tmp_path: Path) -> None:
    """A release is pulled through it."""
    with LocalCloud() as cloud, serving(installed, cloud) as port:
        pull(port, tmp_path)


def test_mitmdump_takes_the_addon_from_its_folder(
    installed: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`mitmdump -s addon.py` works there as in a checkout."""
    port = free_port()
    monkeypatch.chdir(installed.package)
    (tmp_path / "config.yaml").symlink_to(installed.package / "mitm.conf")
    with LocalCloud() as cloud:
        command = (
            *(Path(sysconfig.get_path("scripts")) / "mitmdump", "-s", "addon.py"),
            *("--mode", f"reverse:{cloud.registry_url}@127.0.0.1:{port}"),
            *("--set", f"confdir={tmp_path}"),
            *("--set", f"balena_api_url={cloud.api_url}"),
        )
        log = tmp_path / "log"
        with running(
            command, lambda: ping(port), log=log, environment=installed.environment
        ):
            pull(port, tmp_path / "pull")


@contextmanager
def serving(installed: Installation, cloud: LocalCloud, *words: str) -> Iterator[int]:
    """Run `registry-proxy run` in front of the cloud; yield its port."""
    port = free_port()
    variables = {
        "REGISTRY_URL": cloud.registry_url,
        "API_URL": cloud.api_url,
        "PROXY_PORT": str(port),
    }
    with running(
        [installed.folder / "bin" / "registry-proxy", "run", *words],
        lambda: ping(port),
        log=installed.home / "log",
        environment=installed.environment | variables,
    ):
        yield port


def pull(port: int, folder: Path) -> None:
    """Pull the sample release with a real client."""
    location = f"v2/{LOCATION}"
    expected = next(i.digest for i in sample_images() if i.repository == location)
    folder.mkdir(exist_ok=True)
    assert Skopeo(folder).pull(f"localhost:{port}/{ALIAS}") == expected


def ping(port: int) -> bool:
    """Return whether a proxy answers on the port."""
    with plain_session() as session:
        try:
            return session.get(f"http://127.0.0.1:{port}/ping", timeout=TIMEOUT).ok
        except OSError:
            return False
