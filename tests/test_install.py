"""`tools/install` brings the virtual environment to what a target needs.

The packages are small ones of an index in a folder; pip and uv are the real ones.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from registry_proxy import ROOT

LEVELS = ("runtime", "demo", "everything")
_PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the tool, pins of its own, and the index that has them."""

    folder: Path
    index: Path

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

    def install(self, level: str) -> subprocess.CompletedProcess[str]:
        """Run the tool."""
        return subprocess.run(
            [self.folder / "tools" / "install", level],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "PYTHON": sys.executable,
                "PIP_INDEX_URL": self.index.as_uri(),
                "PIP_CONFIG_FILE": os.devnull,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def packages(self) -> dict[str, str]:
        """Return what is installed of ours, with its version."""
        found = self.folder.glob(".venv/lib/*/site-packages/*.dist-info")
        names = (path.name.removesuffix(".dist-info").split("-") for path in found)
        return {name: version for name, version in names if name not in {"pip", "uv"}}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout whose runtime is `one`, and whose development needs `two` as well."""
    made = Checkout(tmp_path / "checkout", tmp_path / "simple")
    shutil.copytree(ROOT / "tools", made.folder / "tools")
    real = Path(sys.executable).with_name("uv")
    uv = made.add("uv", "1.0", f'#!/bin/sh\nexec "{real}" "$@"\n')
    one, two, cloud = (made.add(name, "1.0") for name in ("one", "two", "cloud"))
    made.pin("-uv", uv)
    made.pin("-build")
    made.pin("", one)
    made.pin("-localcloud", cloud)
    made.pin("-dev", one, cloud, two)
    return made


def test_levels_grow_and_never_shrink(checkout: Checkout) -> None:
    """What a target needs is added once; then nothing is done, nor said."""
    first = checkout.install("runtime")
    assert first.stdout.startswith(".venv: setting it up with Python 3.")
    assert "(runtime: 50 packages, " in first.stdout
    assert checkout.packages() == {"one": "1.0"}
    demo = checkout.install("demo")
    assert demo.stdout.startswith(".venv: bringing it to what is pinned (demo: ")
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0"}
    checkout.install("everything")
    for level in LEVELS:
        again = checkout.install(level)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.packages() == {"one": "1.0", "cloud": "1.0", "two": "1.0"}


def test_changed_pin_is_synced(checkout: Checkout) -> None:
    """The environment is not made anew, and what was dropped goes."""
    checkout.install("everything")
    mark = checkout.folder / ".venv" / "mark"
    mark.touch()
    checkout.pin("-dev", checkout.add("one", "2.0"))
    done = checkout.install("runtime")
    assert done.stdout.startswith(".venv: bringing it to what is pinned (everything: ")
    assert checkout.packages() == {"one": "2.0"}
    assert mark.exists()


def test_wrong_hash_is_refused(checkout: Checkout) -> None:
    """Nothing of it is installed; the next call goes on once the pin is right."""
    right = (checkout.folder / "requirements.txt").read_text()
    checkout.pin("", right[:-9] + "00000000\n")
    done = checkout.install("runtime")
    assert done.returncode == 1
    assert "Hash mismatch" in done.stderr
    assert done.stderr.endswith(
        "tools/install: the packages cannot be installed; the next call goes on from"
        " here\n"
    )
    assert checkout.packages() == {}
    checkout.pin("", right)
    assert checkout.install("runtime").stdout.startswith(".venv: going on with it")
    assert checkout.packages() == {"one": "1.0"}


def test_python_that_has_gone_is_noticed(checkout: Checkout) -> None:
    """The environment of another Python is of no use, so it is made anew."""
    checkout.install("runtime")
    for name in ("python", "python3"):
        link = checkout.folder / ".venv" / "bin" / name
        link.unlink()
        link.symlink_to("/nowhere/python3")
    assert checkout.install("runtime").stdout.startswith(".venv: setting it up with")
    assert checkout.packages() == {"one": "1.0"}


def test_unknown_level(checkout: Checkout) -> None:
    """It is named, with those that there are; --help describes them."""
    done = checkout.install("all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'all' is no level: use runtime, demo or everything" in done.stderr
    described = checkout.install("--help").stdout
    assert all(level in described for level in LEVELS)


def pins(*files: str) -> set[str]:
    """Return the names that the files pin."""
    texts = ((ROOT / f"requirements{file}.txt").read_text() for file in files)
    return {name for text in texts for name in _PIN.findall(text)}


def megabytes(names: set[str]) -> float:
    """Return how much the packages take here."""
    size = 0
    for name in names:
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:  # Of another system.
            continue
        paths = (Path(str(file.locate())) for file in files)
        size += sum(path.stat().st_size for path in paths if path.exists())
    return size / 1e6


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("runtime", pins("", "-uv")),
        ("demo", pins("", "-localcloud", "-uv")),
        ("everything", pins("-dev")),
    ],
    ids=LEVELS,
)
def test_size_is_as_it_says(level: str, names: set[str]) -> None:
    """Packages are counted as they are here, and pip has a dozen megabytes beside."""
    text = (ROOT / "tools" / "install").read_text()
    told = re.search(
        rf'size_of_{level}="(\d+) packages, \d+ MB to download, (\d+) MB on disk"', text
    )
    assert told
    assert abs(int(told[1]) - len(names)) <= 4  # Some are for other systems.
    assert megabytes(names) + 12 == pytest.approx(int(told[2]), rel=0.15)
