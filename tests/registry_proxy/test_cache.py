"""The command that looks after the folder of the cache."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_proxy import ROOT
from registry_proxy.command import main
from resolver.blob.folder import Folder
from resolver.grammar.reference import Digest
from tests.pull.site import digest_of
from tests.pull.stick import place_of, stick_of

BLOBS = (b"old" * 1_000_000, b"new" * 500_000, b"middle" * 200_000)
AGES = (1_000_000, 3_000_000, 2_000_000)
"""When each was used last."""
NEWEST_FIRST = [digest_of(BLOBS[index]) for index in (1, 2, 0)]
SIZE_MAX = 10**9
SECONDS = 60


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder that other tools have filled, and no proxy has seen."""
    folder = stick_of(tmp_path / "cache", *BLOBS)
    for content, age in zip(BLOBS, AGES, strict=True):
        os.utime(place_of(folder, content), (age, age))
    return folder


def listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the digests that the list has, in its order."""
    capsys.readouterr()
    assert main(["cache", "--json", "--cache", str(cache)]) == 0
    return [each["digest"] for each in json.loads(capsys.readouterr().out)["blobs"]]


def test_list(
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was used last stands first, and the total beside what may be kept."""
    before = set(cache.rglob("*"))
    monkeypatch.setenv("CACHE", str(cache))
    assert main(["cache", "--cache-size", "1GB"]) == 0
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NEWEST_FIRST
    assert [line.split()[1:3] for line in lines] == [
        ["1.5", "MB"],
        ["1.2", "MB"],
        ["3.0", "MB"],
    ]
    assert all("  1970-0" in line for line in lines)
    assert total == f"3 blobs, 5.7 MB of 1.0 GB (CACHE_SIZE) in {cache}"
    # Whoever looks leaves no trace, as root perhaps, that locks the proxy out.
    assert set(cache.rglob("*")) == before


def test_list_for_programs(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in bytes, and in seconds since the epoch."""
    assert main(["cache", "list", "--json", "--cache", str(cache)]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["folder"] == str(cache)
    assert (content["size"], content["size_max"]) == (5_700_000, 20 * 10**9)
    assert content["blobs"][0] == {
        "digest": NEWEST_FIRST[0],
        "size": 1_500_000,
        "used": AGES[1],
    }


def test_check_finds_a_flipped_bit(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named and removed, and that others were read is no use of them."""
    assert main(["cache", "check", "--cache", str(cache)]) == 0
    assert capsys.readouterr().out == "checked 3 blobs, 5.7 MB: none damaged\n"
    assert listed(cache, capsys) == NEWEST_FIRST
    flipped = bytearray(BLOBS[2])
    flipped[1_000_001] ^= 0x10
    place_of(cache, BLOBS[2]).write_bytes(flipped)
    assert main(["cache", "check", "--cache", str(cache)]) == 1
    assert capsys.readouterr().out == (
        f"{digest_of(BLOBS[2])}: damaged, and removed\n"
        "checked 3 blobs, 5.7 MB: 1 blob damaged\n"
    )
    assert listed(cache, capsys) == [NEWEST_FIRST[0], NEWEST_FIRST[2]]
    for content, age in ((BLOBS[0], AGES[0]), (BLOBS[1], AGES[1])):
        assert place_of(cache, content).stat().st_atime == age


def test_prune_keeps_the_newest(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what was freed; what a killed process began goes as well."""
    (cache / "partial").mkdir()
    begun = f"{'a' * 64}-{'b' * 16}"
    (cache / "partial" / begun).write_bytes(bytes(5_000_000))
    assert main(["cache", "prune", "--cache", str(cache), "--cache-size", "3MB"]) == 0
    assert capsys.readouterr().out == "removed 1 blob, 3.0 MB; kept 2.7 MB of 3.0 MB\n"
    assert listed(cache, capsys) == NEWEST_FIRST[:2]
    assert not list((cache / "partial").iterdir())
    assert main(["cache", "prune", "--cache", str(cache), "--to", "2MB"]) == 0
    assert listed(cache, capsys) == NEWEST_FIRST[:1]
    assert main(["cache", "prune", "--cache", str(cache), "--to", "0"]) == 0
    assert listed(cache, capsys) == []


def test_prune_while_another_process_writes_and_reads(cache: Path) -> None:
    """What is being written stays whole, and what is read is read to its end."""
    folder = Folder(cache, SIZE_MAX)
    content = b"written" * 100_000
    reader = folder.open(Digest(digest_of(BLOBS[0])))
    partial = folder.begin(Digest(digest_of(content)), len(content))
    partial.write(content[:1000])
    done = subprocess.run(
        [sys.executable, "-m", "registry_proxy", "cache", "prune", "--to", "1MB"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout.startswith("removed 3 blobs, 5.7 MB; kept 700.0 kB of 1.0 MB")
    partial.write(content[1000:])
    partial.accept()
    partial.end()
    assert place_of(cache, content).read_bytes() == content
    assert reader
    assert folder.is_right(Digest(digest_of(BLOBS[0])), reader)


@pytest.mark.parametrize("action", ["list", "check", "prune"])
def test_folder_has_to_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """A typo is told in one line, and nothing is made of it."""
    missing, empty, file = (tmp_path / name for name in ("typo", "empty", "file"))
    empty.mkdir()
    file.touch()
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "blobs").mkdir()
    (strange / "blobs" / "sha256").touch()
    for path, why in (
        (missing, "there is no folder"),
        (file, "there is no folder"),
        (empty, "is no cache: there is no folder blobs in it"),
        (strange, "Not a directory"),
        ("~nobody-here", "'~nobody-here' is in the home of a user who"),
    ):
        assert main(["cache", action, "--cache", str(path)]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith("registry proxy: CACHE: ")
        assert why in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not missing.exists()
    assert not list(empty.iterdir())


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 1, "CACHE: is not set; name the folder in which the proxy keeps blobs"),
        (["prune", "--to", "much"], 1, "--to: 'much' is neither 0 nor a size"),
        (["--cache-size", "much"], 1, "CACHE_SIZE: 'much' is no size from 1MB to"),
        (["check", "--to", "1GB"], 2, "--to: has no effect on check"),
        (["prune", "--json"], 2, "--json: has no effect on prune"),
    ],
)
def test_misuse_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
    said: str,
) -> None:
    """What cannot work, or would be ignored, is said."""
    monkeypatch.delenv("CACHE", raising=False)
    assert main(["cache", *words]) == status
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
