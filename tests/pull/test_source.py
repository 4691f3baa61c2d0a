"""A stick that somebody brought: its blobs fill the cache, and nothing else of it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_proxy import ROOT
from registry_proxy.command import main
from tests.integration.tool import wait_until
from tests.pull.site import digest_of
from tests.pull.stick import place_of, stick_of

BLOBS = (b"one" * 500_000, b"two" * 300_000)
WRONG = b"three"
SECONDS = 30


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A stick with two blobs."""
    return stick_of(tmp_path / "stick", *BLOBS)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the cache is to be, which is not there yet."""
    return tmp_path / "cache"


def fill(stick: Path, cache: Path, *more: str) -> int:
    """Return how the command ends."""
    return main(["prefetch", "--from", f"oci:{stick}", "--cache", str(cache), *more])


def kept(cache: Path) -> set[str]:
    """Return what of the blobs the cache has, each as it should be."""
    found = {f"sha256:{path.name}": path for path in cache.glob("blobs/sha256/*")}
    assert all(digest_of(path.read_bytes()) == name for name, path in found.items())
    assert not list(cache.glob("partial/*"))
    return set(found)


def digests(*contents: bytes) -> set[str]:
    """Return those of some blobs."""
    return {digest_of(content) for content in contents}


def test_blobs_are_copied_once(
    stick: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there is skipped if it is right, and copied again if it is not."""
    assert fill(stick, cache) == 0
    assert kept(cache) == digests(*BLOBS)
    assert capsys.readouterr().out == (
        f"2 blobs (2.4 MB) copied from {stick} to {cache},"
        " 0 blobs (0 bytes) there already\n"
    )
    flipped = bytearray(BLOBS[0])
    flipped[7] ^= 1
    place_of(cache, BLOBS[0]).write_bytes(flipped)
    identity = place_of(cache, BLOBS[1]).stat().st_ino
    assert fill(stick, cache) == 0
    assert kept(cache) == digests(*BLOBS)
    assert place_of(cache, BLOBS[1]).stat().st_ino == identity
    said = capsys.readouterr().out
    assert said.startswith("1 blob (1.5 MB) copied from ")
    assert said.endswith(" 1 blob (900.0 kB) there already\n")


def test_other_cache_is_a_source(stick: Path, cache: Path, tmp_path: Path) -> None:
    """The folder of a cache is a layout, though its index names nothing."""
    assert fill(stick, cache, "--quiet") == 0
    assert fill(cache, tmp_path / "other", "--quiet") == 0
    assert kept(tmp_path / "other") == digests(*BLOBS)


def as_link(place: Path) -> None:
    """Let a file of the machine stand there."""
    place.symlink_to("/etc/passwd")


def as_pipe(place: Path) -> None:
    """Let something stand there that is never read to its end."""
    os.mkfifo(place)


def as_folder(place: Path) -> None:
    """Let a folder stand there."""
    place.mkdir()


def as_other_content(place: Path) -> None:
    """Let other bytes stand there."""
    place.write_bytes(b"something else")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (as_link, "it is a link or a special file"),
        (as_pipe, "it is a link or a special file"),
        (as_folder, "it is a link or a special file"),
        (as_other_content, "its bytes are not what the digest says"),
    ],
)
def test_hostile_blob_is_refused_by_name(
    stick: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    why: str,
) -> None:
    """The others are taken, and the command says that one was not."""
    make(place_of(stick, WRONG))
    assert fill(stick, cache) == 1
    assert capsys.readouterr().err == f"refused: {digest_of(WRONG)}: {why}\n"
    assert kept(cache) == digests(*BLOBS)


def test_link_to_what_would_fit_is_refused(
    stick: Path, cache: Path, tmp_path: Path
) -> None:
    """No link leads out of the stick, even to the very bytes that its name says."""
    outside = tmp_path / "outside"
    outside.write_bytes(WRONG)
    place_of(stick, WRONG).symlink_to(outside)
    assert fill(stick, cache) == 1
    assert kept(cache) == digests(*BLOBS)


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_folder_that_is_a_link_is_not_followed(
    stick: Path,
    cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """Neither does a folder lead out of it."""
    (stick / name).rename(tmp_path / "outside")
    (stick / name).symlink_to(tmp_path / "outside")
    assert fill(stick, cache) == 1
    assert "is no OCI image layout that can be read: blobs: " in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("index.json", b"{", "index.json is no JSON"),
        ("index.json", b"\xff\xfe", "index.json is no JSON"),
        ("index.json", b"[" * 200_000, "index.json is no JSON"),
        ("index.json", b"[]", "index.json has something else"),
        ("oci-layout", b"{}", "oci-layout has something else"),
        ("oci-layout", None, "oci-layout: No such file or directory"),
    ],
)
def test_what_is_no_layout_is_told(
    stick: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    why: str,
) -> None:
    """In one line, and nothing is made."""
    (stick / name).unlink()
    if content is not None:
        (stick / name).write_bytes(content)
    assert fill(stick, cache) == 1
    assert capsys.readouterr().err == (
        f"registry proxy: --from: '{stick}' is no OCI image layout that can be read:"
        f" {why}\n"
    )
    assert not cache.exists()


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("make", [as_link, as_pipe, as_folder])
def test_special_file_does_not_block(
    stick: Path, cache: Path, name: str, make: Callable[[Path], None]
) -> None:
    """What is no file is not read."""
    (stick / name).unlink()
    make(stick / name)
    assert fill(stick, cache) == 1
    assert not cache.exists()


def test_stick_that_holds_too_much(
    stick: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is copied, for the last would push out the first."""
    assert fill(stick, cache, "--cache-size", "2MB") == 1
    assert capsys.readouterr().err == (
        f"registry proxy: CACHE_SIZE: {stick} has 2.4 MB, and 2.0 MB may be kept; set"
        " more, for the proxy as well\n"
    )
    assert not list(cache.glob("blobs/*/*"))


def test_older_blobs_make_room(stick: Path, cache: Path, tmp_path: Path) -> None:
    """Those that are on the stick as well stay, however old they are."""
    shared, old = BLOBS[0], b"old" * 200_000
    assert fill(stick_of(tmp_path / "first", shared, old), cache, "--quiet") == 0
    for age, content in enumerate((old, shared), 1):
        os.utime(place_of(cache, content), (age, age))
    assert fill(stick, cache, "--quiet", "--cache-size", "2500kB") == 0
    assert kept(cache) == digests(*BLOBS)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--from", "/stick"], 1, "--from: '/stick' names no OCI image layout; write"),
        (["--from", "oci:"], 1, "--from: 'oci:' names no OCI image layout; write"),
        (["--from", "oci:/no/stick:2.3"], 1, "there is no folder '/no/stick:2.3'"),
        (["--from", "oci:/etc/passwd"], 1, "Not a directory"),
        (["--from", "oci:~nobody-here"], 1, "--from: '~nobody-here' is in the home"),
        (["org/app", "--from", "oci:/x"], 2, "leave one of them out"),
        (
            ["--from", "oci:/x", "--platform", "a/b"],
            2,
            "--platform: has no effect with",
        ),
        (["org/app", "--cache", "/x"], 2, "--cache: has no effect without --from"),
        ([], 2, "REF is missing: name an image, as in "),
    ],
)
def test_misuse_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    """What would be ignored, or cannot work, is said."""
    assert main(["prefetch", *words]) == status
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_cache_has_to_be_named(
    stick: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no folder that would be the usual one."""
    monkeypatch.delenv("CACHE", raising=False)
    assert main(["prefetch", "--from", f"oci:{stick}"]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"registry proxy: CACHE: is not set; name the folder .*\n", said
    )


def test_interruption_leaves_nothing_begun(stick: Path, cache: Path) -> None:
    """Who ends it has a line and a status, and no part of a blob."""
    with place_of(stick, WRONG).open("wb") as file:
        file.truncate(1 << 28)
    words = ("prefetch", "--from", f"oci:{stick}", "--cache", str(cache))
    with subprocess.Popen(
        [sys.executable, "-m", "registry_proxy", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(
            lambda: any(f.stat().st_size == 1 << 28 for f in cache.glob("partial/*")),
            "the blob",
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (130, "registry proxy: interrupted\n")
    assert not list(cache.glob("partial/*"))
