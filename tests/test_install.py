"""`tools/install` brings the virtual environment to what a target needs.

The packages are small ones of an index in a folder; pip and uv are the real ones. What
PATH has for uv is said by each test.
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from registry_proxy import ROOT
from registry_proxy.spelling import OF_TARGETS
from tests.integration.tool import find_tool, require_root

LEVELS = ("runtime", "demo", "everything")
SECONDS = 60
_PIN = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)
_REAL_UV = Path(sys.executable).with_name("uv")
_OWN_UV = f'#!/bin/sh\nexec "{_REAL_UV}" "$@"\n'
_OLD_UV = "#!/bin/sh\necho uv 0.8.24\n"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the tool, pins of its own, and the index that has them."""

    folder: Path
    index: Path

    @property
    def venv(self) -> Path:
        """The virtual environment that it makes."""
        return self.folder / ".venv"

    @property
    def uv(self) -> Path:
        """The uv that PATH has first."""
        return self.folder / "bin" / "uv"

    def add(self, name: str, version: str, script: str = "") -> str:
        """Put a package into the index, and return its pin."""
        stem = f"{name}-{version}"
        wheel = self.index / name / f"{stem}-py3-none-any.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        about = f"{stem}.dist-info"
        files = {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
            f"Version: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
        }
        if script:
            files[f"{stem}.data/scripts/{name}"] = script
        record = f"{about}/RECORD"
        files[record] = "".join(f"{file},,\n" for file in (*files, record))
        with zipfile.ZipFile(wheel, "w") as archive:
            for file, text in files.items():
                entry = zipfile.ZipInfo(file)
                entry.external_attr = 0o100755 << 16
                archive.writestr(entry, text)
        names = [each.name for each in wheel.parent.glob("*.whl")]
        links = (f'<a href="{each}">{each}</a>' for each in names)
        (wheel.parent / "index.html").write_text("\n".join(links))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        return f"{name}=={version} --hash=sha256:{digest}\n"

    def pin(self, file: str, *pins: str) -> None:
        """Let a file of requirements have these pins."""
        (self.folder / f"requirements{file}.txt").write_text("".join(pins))

    def measure(self, *lines: str) -> None:
        """Let the figures be those of what is pinned now, as of each level's files."""
        text = "".join(lines)
        for level, files in _FILES.items():
            text = text.replace(f"{level} ", f"{level} {checksum(self.folder, files)} ")
        (self.folder / "requirements.size").write_text(text)

    def environment(self, **variables: str) -> dict[str, str]:
        """Return what the tool sees: this index, and nothing of this machine."""
        return {
            "PATH": f"{self.uv.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHON": sys.executable,
            "PIP_INDEX_URL": self.index.as_uri(),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_HTTP_RETRIES": "0",
            "PIP_RETRIES": "0",
        } | variables

    def start(self, level: str, **variables: str) -> subprocess.Popen[str]:
        """Start the tool in a process group of its own."""
        return subprocess.Popen(
            [self.folder / "tools" / "install", level],
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def install(self, level: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the tool."""
        process = self.start(level, **variables)
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def packages(self) -> dict[str, str]:
        """Return what is installed of ours, with its version."""
        found = self.venv.glob("lib/*/site-packages/*.dist-info")
        names = (path.name.removesuffix(".dist-info").split("-") for path in found)
        return {name: version for name, version in names if name not in {"pip", "uv"}}


_TOOL = ("requirements-uv.txt", "requirements-build.txt")
_FILES = {
    "runtime": ("requirements.txt", *_TOOL),
    "demo": ("requirements.txt", "requirements-localcloud.txt", *_TOOL),
    "everything": ("requirements-dev.txt", *_TOOL),
}


def checksum(folder: Path, files: tuple[str, ...]) -> str:
    """Return the checksum of what is pinned, as POSIX has it."""
    text = b"".join((folder / file).read_bytes() for file in files)
    done = subprocess.run(["cksum"], input=text, capture_output=True, check=True)
    return done.stdout.decode().strip().replace(" ", "-")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout whose runtime is `one`, and whose development needs `two` as well."""
    made = Checkout(tmp_path / "checkout", tmp_path / "simple")
    shutil.copytree(ROOT / "tools", made.folder / "tools")
    made.uv.parent.mkdir()
    made.uv.symlink_to(_REAL_UV)
    one, two, cloud = (made.add(name, "1.0") for name in ("one", "two", "cloud"))
    made.pin("-uv", made.add("uv", "1.0", _OWN_UV))
    made.pin("-build")
    made.pin("", one)
    made.pin("-localcloud", cloud)
    made.pin("-dev", one, cloud, two)
    made.measure(
        "tool - 2 20 50\n",
        "runtime 40 30 60\n",
        "demo 45 32 65\n",
        "everything 90 130 300\n",
    )
    return made


def without_uv(checkout: Checkout, uv: str = _OLD_UV) -> None:
    """Let PATH have another uv, one that is of no use."""
    checkout.uv.unlink()
    checkout.uv.write_text(uv)
    checkout.uv.chmod(0o755)


def test_levels_grow_and_never_shrink(checkout: Checkout) -> None:
    """What a target needs is added once; then nothing is done, nor said."""
    first, *_ = checkout.install("runtime").stdout.splitlines()
    assert re.fullmatch(
        r"\.venv: setting up runtime with Python 3\.[\d.]+:"
        " 40 packages, about 30 MB to download, 60 MB on disk",
        first,
    )
    assert checkout.packages() == {"one": "1.0"}
    said = checkout.install("demo").stdout.splitlines()
    assert said[:2] == [
        ".venv: adding demo: 5 packages, about 2 MB to download, 5 MB on disk",
        ".venv: installing the packages",
    ]
    assert re.fullmatch(r"\.venv: ready after \d+ s", said[2])
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0"}
    # Everything has a uv in any case.
    assert "adding everything: 47 packages, about 118 MB" in (
        checkout.install("everything").stdout
    )
    for level in LEVELS:
        again = checkout.install(level)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0", "two": "1.0"}


def test_uv_of_its_own(checkout: Checkout, tmp_path: Path) -> None:
    """One is installed where PATH has none that will do; it has pip's settings."""
    without_uv(checkout)
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nindex-url = {checkout.index.as_uri()}\n")
    first = checkout.install("runtime", PIP_INDEX_URL="", PIP_CONFIG_FILE=str(settings))
    said = first.stdout.splitlines()
    assert ": 42 packages, about 50 MB to download, 110 MB on disk" in said[0]
    assert said[1] == ".venv: getting uv, which installs the rest"
    assert checkout.packages() == {"one": "1.0"}
    second = checkout.install("demo")
    assert "adding demo: 5 packages, about 2 MB" in second.stdout
    assert "getting uv" not in second.stdout
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0"}


def test_further_index(checkout: Checkout, tmp_path: Path) -> None:
    """A package comes from the index that has it, as with pip."""
    further = tmp_path / "further"
    further.mkdir()
    (checkout.index / "cloud").rename(further / "cloud")
    done = checkout.install("demo", PIP_EXTRA_INDEX_URL=further.as_uri())
    assert done.returncode == 0, done.stderr
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0"}


def test_cache_that_cannot_be_written(checkout: Checkout) -> None:
    """A user without a home installs all the same."""
    assert checkout.install("runtime", HOME="/proc/nobody").returncode == 0
    assert checkout.packages() == {"one": "1.0"}


def test_changed_pin_is_synced(checkout: Checkout) -> None:
    """The environment is not made anew, what was dropped goes; it was not measured."""
    checkout.install("everything")
    mark = checkout.venv / "mark"
    mark.touch()
    checkout.pin("-dev", checkout.add("one", "2.0"))
    assert checkout.install("runtime").stdout.startswith(
        ".venv: bringing everything to the versions that are pinned now\n"
    )
    assert checkout.packages() == {"one": "2.0"}
    assert mark.exists()
    shutil.rmtree(checkout.venv)
    assert "MB" not in checkout.install("everything").stdout


def test_wrong_hash_is_refused(checkout: Checkout) -> None:
    """Nothing of it is installed; the next call goes on once the pin is right."""
    right = (checkout.folder / "requirements.txt").read_text()
    checkout.pin("", right[:-9] + "00000000\n")
    done = checkout.install("runtime")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "tools/install: the package named above is not the one that was pinned"
    )
    assert "one==1.0" in done.stderr
    assert checkout.packages() == {}
    checkout.pin("", right)
    assert checkout.install("runtime").stdout.startswith(".venv: going on with runtime")
    assert checkout.packages() == {"one": "1.0"}


def test_pin_without_hash_is_refused(checkout: Checkout) -> None:
    """Nobody would notice another package in its place."""
    checkout.pin("", "one==1.0\n")
    done = checkout.install("runtime")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "tools/install: the packages cannot be installed, as said above;"
        " the next call goes on from here"
    )
    assert checkout.packages() == {}


@pytest.mark.parametrize("uv", [_REAL_UV.name, "none"])
def test_index_that_cannot_be_reached(checkout: Checkout, uv: str) -> None:
    """The last line says so, and what to set, whether uv is there or not."""
    if uv == "none":
        without_uv(checkout)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = checkout.install("runtime", PIP_INDEX_URL=f"http://127.0.0.1:{port}/simple")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tools/install: the index of packages cannot be reached")
    assert "HTTPS_PROXY" in last
    assert "PIP_INDEX_URL" in last


def test_failed_growth_keeps_the_level(checkout: Checkout) -> None:
    """Who cannot have everything still has the runtime."""
    checkout.install("runtime")
    shutil.rmtree(checkout.index / "two")
    assert checkout.install("everything").returncode == 1
    assert checkout.install("runtime").returncode == 0
    assert checkout.packages() == {"one": "1.0"}


@pytest.mark.parametrize("uv", [_REAL_UV.name, "none"])
def test_interrupted(checkout: Checkout, uv: str) -> None:
    """Ctrl-C ends it with one line, and the next call finishes it."""
    if uv == "none":
        without_uv(checkout)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        process = checkout.start("runtime", PIP_INDEX_URL=url)
        silent.settimeout(SECONDS)
        silent.accept()[0].close()  # It tries again, and waits.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode in {130, -signal.SIGINT}
    # What uv was about to say may stand before it.
    assert err.endswith("tools/install: interrupted; the next call goes on from here\n")
    assert checkout.install("runtime").stdout.startswith(".venv: going on with runtime")
    assert checkout.packages() == {"one": "1.0"}


def test_ended_while_python_makes_it(checkout: Checkout) -> None:
    """What was half made is made anew."""
    checkout.venv.mkdir()
    (checkout.venv / "level").write_text("nothing unfinished\n")
    (checkout.venv / "bin").mkdir()
    assert checkout.install("runtime").stdout.startswith(".venv: setting up runtime")
    assert checkout.packages() == {"one": "1.0"}


@pytest.mark.parametrize("target", ["/nowhere/python3", "/bin/sh"])
def test_python_that_has_gone_is_noticed(checkout: Checkout, target: str) -> None:
    """The environment of another Python is of no use, so it is made anew."""
    checkout.install("runtime")
    mark = checkout.venv / "mark"
    mark.touch()
    for name in ("python", "python3"):
        link = checkout.venv / "bin" / name
        link.unlink()
        link.symlink_to(target)
    assert checkout.install("runtime").stdout.startswith(".venv: setting up runtime")
    assert checkout.packages() == {"one": "1.0"}
    assert not mark.exists()


def test_folder_of_something_else_is_kept(checkout: Checkout) -> None:
    """What is no virtual environment is not removed."""
    other = checkout.folder / "other"
    other.mkdir()
    (other / "letter").touch()
    done = checkout.install("runtime", VENV=str(other))
    assert done.returncode == 1
    assert done.stderr == (
        f"tools/install: VENV: {other} is there, and no virtual environment;"
        " name another folder\n"
    )
    assert (other / "letter").exists()


def test_one_at_a_time(checkout: Checkout) -> None:
    """Another call waits, says so, and then finds what it needs or makes it."""
    find_tool("flock")
    with (checkout.folder / "tools" / "install").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = checkout.start("runtime")
        assert process.stdout is not None
        assert process.stdout.readline() == (
            ".venv: waiting for another tools/install\n"
        )
        assert not checkout.venv.exists()
    process.communicate(timeout=SECONDS)
    assert checkout.packages() == {"one": "1.0"}


def test_full_disk(checkout: Checkout) -> None:
    """The last line says so."""
    require_root("a small file system")
    unshare = find_tool("unshare")
    checkout.venv.mkdir()
    script = f"mount -t tmpfs -o size=16k none {checkout.venv} && exec tools/install $0"
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", script, "runtime"],
        cwd=checkout.folder,
        env=checkout.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("tools/install: the disk is full")


def test_unknown_level(checkout: Checkout) -> None:
    """It is named, with those that there are; --help describes them."""
    done = checkout.install("all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'all' is no level: use runtime, demo or everything" in done.stderr
    described = checkout.install("--help").stdout
    assert all(level in described for level in LEVELS)


def test_advice_can_be_followed() -> None:
    """What it says to give to make, make's targets take."""
    advised = re.findall(r"make ([A-Z_]+)=", (ROOT / "tools" / "install").read_text())
    assert advised
    assert set(advised) <= OF_TARGETS


def pins(file: str) -> dict[str, str]:
    """Return what a file of requirements pins."""
    return dict(_PIN.findall((ROOT / file).read_text()))


def test_levels_agree() -> None:
    """What several files pin has one version, and everything has what levels have."""
    everything = pins("requirements-dev.txt")
    for file in ("requirements.txt", "requirements-localcloud.txt", _TOOL[0]):
        assert pins(file).items() <= everything.items()
    build = pins(_TOOL[1])
    shared = build.keys() & everything.keys()
    assert all(build[name] == everything[name] for name in shared)


def megabytes(names: set[str]) -> float:
    """Return how much the packages take here, and how much a block more."""
    size = 0
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:  # Of another system.
            continue
        paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
        size += sum(path.stat().st_blocks * 512 for path in paths if path.exists())
    return size / 1e6


@pytest.mark.parametrize("level", LEVELS)
def test_figures_are_of_what_is_pinned(level: str) -> None:
    """They were measured with these pins, and packages are as large here."""
    text = (ROOT / "requirements.size").read_text()
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    pinned, packages, _, disk = rows[level]
    assert pinned == checksum(ROOT, _FILES[level])
    names = {name for file in _FILES[level][:-2] for name in pins(file)} - {"uv"}
    assert abs(int(packages) - len(names)) <= 4  # Some are for other systems.
    assert megabytes(names) == pytest.approx(int(disk), rel=0.1)


def test_folder_of_somebody_else_is_left_alone(checkout: Checkout) -> None:
    """Whatever lies in it, it is named, and nothing of it goes."""
    other = checkout.folder / "other"
    other.mkdir()
    for name in ("level", "pyvenv.cfg", "thesis"):
        (other / name).write_text("mine\n")
    done = checkout.install("runtime", VENV=str(other))
    assert done.returncode == 1
    assert "name another folder" in done.stderr
    assert (other / "thesis").exists()
