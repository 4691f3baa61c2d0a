"""`registry-proxy watch`: what it shows of a page and of a log, and where it ends."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_proxy import ROOT
from registry_proxy.command import main
from tests.integration.tool import wait_until
from tests.live.watched import TOKEN, failed, lost, pull, running, showing

_UTF8 = {"PYTHONUTF8": "1"}
HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e" + "x" * 5000
CLIENT = "(192.0.2.7 docker/28.5.2)"
SERVED = f"✓ org/app1 → 2.3.8+rev2  6.3 MB in 1.50 s  {CLIENT}"
FINDING = "the storage s3.example cannot be reached"
HALF = "[##########----------]  50% 3.1 MB of 6.3 MB"


def watch(*words: str) -> int:
    """Run the command here, and return its exit status."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return main(["watch", *words])
    finally:
        signal.signal(signal.SIGINT, before)


def without_times(text: str) -> list[str]:
    """Return the lines without the times of the day, which are local."""
    return [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in text.splitlines()]


def test_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What there is is printed, the newest last: done, failed with advice, running."""
    with showing(pull(1), failed(2), running(3)) as page:
        assert watch("--once", "--page", page.url) == 0
    assert without_times(capsys.readouterr().out) == [
        SERVED,
        f"✕ org/app2 → 2.3.8+rev2  failed: {FINDING}  {CLIENT}",
        "  next: Check the route to s3.example.",
        f"… org/app3 → 2.3.8+rev2  {HALF}, 2.0 MB/s, 1 of 2 layers  {CLIENT}",
    ]


def test_what_goes_wrong_beside_pulls(capsys: pytest.CaptureFixture[str]) -> None:
    """A client that comes to no pull is told of, with what to do."""
    with showing(pull(2)) as page:
        page.others = [lost(1), lost(3, what="TLS handshake", method="", path=None), 7]
        assert watch("--once", "--page", page.url) == 0
    gone = "client gone: it did not come for a token  (192.0.2.9 docker/28.5.2)"
    assert without_times(capsys.readouterr().out) == [
        f"✕ GET /v2/  {gone}",
        "  next: Set PUBLIC_URL.",
        SERVED.replace("app1", "app2"),
        f"✕ TLS handshake  {gone}",
        "  next: Set PUBLIC_URL.",
    ]


def test_failures_only(capsys: pytest.CaptureFixture[str]) -> None:
    """With --failures, those that go well are left out."""
    with showing(pull(1), failed(2), running(3)) as page:
        assert watch("--once", "--failures", "--page", page.url) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "org/app2" in lines[0]


def test_token_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of this machine is found by the proxy's own variables."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    with showing(pull(1)) as page:
        monkeypatch.setenv("PULLS_PORT", str(page.port))
        monkeypatch.setenv("PULLS_TOKEN", str(path))
        assert watch("--once") == 0
    assert without_times(capsys.readouterr().out) == [SERVED]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b"", "refuses the token"),
        (404, b"", "answers with status 404, so it is no page of pulls"),
        (302, b"", "answers with status 302, so it is no page of pulls"),
        (500, b"", "answers with status 500"),
        (200, b"<html>", "answers with something else than pulls"),
        (200, b"[]", "answers with something else than pulls"),
        (200, b"[" * 100_000, "answers with something else than pulls"),
        (200, b'{"pulls": 1}', "answers with something else than pulls"),
    ],
)
def test_what_is_no_page(
    status: int, body: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What answers otherwise is named, with where to find the page."""
    with showing() as page:
        page.status, page.body = status, body
        assert watch("--page", page.url) == 1
    said = capsys.readouterr().err
    assert words in said
    assert TOKEN not in said
    assert len(said.splitlines()) == 1


def test_nothing_listens(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody answers from the beginning, that is said, and it ends."""
    with showing() as page:
        pass
    assert watch("--page", page.url) == 1
    said = capsys.readouterr().err
    assert f"nothing answers at http://127.0.0.1:{page.port}/pulls" in said
    assert said.endswith(": it refuses the connection\n")


def test_no_token_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None was refused, then; it is said how to give one."""
    monkeypatch.delenv("PULLS_TOKEN", raising=False)
    with showing() as page:
        assert watch("--pulls-port", str(page.port)) == 1
    said = capsys.readouterr().err
    assert f"http://127.0.0.1:{page.port}/pulls needs a token, and none was" in said
    assert "with --pulls-token" in said
    assert "refuses" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name what to watch: --page"),
        (("--page", "ftp://x/pulls"), "ftp://x/pulls is no address of a page"),
        (("--page", "http://[::1"), "http://[::1 is no address of a page"),
        (("--page", "http://[zz]:80"), "http://[zz]:80 is no address of a page"),
        (("--page", "http://x:99999"), "http://x:99999 is no address of a page"),
        (("--page", "http://h", "log"), "name a page or a log, not both"),
        (("no/such/log",), "no/such/log: No such file or directory"),
        (("/",), "/: Is a directory"),
    ],
)
def test_what_cannot_be_watched(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be watched is refused by name, with what would work."""
    assert watch(*words) == 1
    assert said in capsys.readouterr().err


def test_hostile_page(capsys: pytest.CaptureFixture[str]) -> None:
    """No text of a page moves the cursor, and none is longer than a few lines."""
    strange = failed(1, name=HOSTILE, release=HOSTILE, advice=HOSTILE, finding=HOSTILE)
    strange["client"] = {"address": HOSTILE, "agent": HOSTILE}
    nonsense = [None, 1, "x", {}, {"name": 3}, pull(2, requests=[1, {"kind": []}])]
    nonsense.append(pull(3, begin="x", end=[], bytes=-1, total=1e300, rate="x", id=7))
    nonsense.append(running(4, total=0, client=[], result={}))
    with showing(strange, *nonsense) as page:  # type: ignore[arg-type]
        assert watch("--once", "--page", page.url) == 0
    shown = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in shown)
    assert "\u202e" not in shown
    assert r"\x1b]0;owned" in shown
    assert len(shown) < 4000
    assert "org/app2" in shown


def test_signs_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """No name and no client looks as if another pull was over."""
    strange = pull(1, name="org/a ✓ org/b", release="1 → 2")
    strange["client"] = {"address": "✕", "agent": "…"}
    with showing(strange) as page:
        assert watch("--once", "--page", page.url) == 0
    (line,) = without_times(capsys.readouterr().out)
    assert line.startswith(r"✓ org/a \u2713 org/b → 1 \u2192 2  ")
    assert line.endswith(r"(\u2715 \u2026)")


LINE: dict[str, object] = {
    "time": "2026-11-29T15:00:02.000Z",
    "level": "info",
    "message": "GET blob",
    "client": "192.0.2.7",
    "request_id": "1",
    "event": "blob",
    "outcome": "served",
    "method": "GET",
    "status": 200,
    "alias": "org/app1",
    "digest": f"sha256:{'1' * 64}",
    "release": "2.3.8+rev2",
    "bytes": 6_300_000,
    "duration": 1.5,
    "login": "token",
    "agent": "docker/28.5.2",
    "connection": "a",
    "session": "s",
}


def log_of(*lines: Mapping[str, object] | str) -> str:
    """Return a log with these lines."""
    return "".join(
        f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines
    )


def test_log_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log with facts is read to its end, whatever stands before its lines."""
    refused = LINE | {
        "request_id": "2",
        "event": "manifest",
        "digest": None,
        "tag": "latest",
        "outcome": "refused",
        "status": 404,
        "alias": "org/app2",
        "release": None,
        "error": "org/app2 has no release 9",
        "advice": "Name one of these.",
        "connection": "b",
        "session": "t",
    }
    path = tmp_path / "log"
    start = {name: LINE[name] for name in ("time", "level", "message")}
    other = "proxy-1  | " + json.dumps(LINE | {"request_id": "3", "bytes": 700_000})
    path.write_text(
        log_of("starting", start, LINE, "{", refused, other, "[1]", "x" * 99)
    )
    assert watch(str(path)) == 0
    assert sorted(without_times(capsys.readouterr().out)) == [
        "  next: Name one of these.",
        "✓ org/app1 → 2.3.8+rev2  7.0 MB in 1.50 s  (192.0.2.7 docker/28.5.2)",
        "✕ org/app2  refused: org/app2 has no release 9  (192.0.2.7 docker/28.5.2)",
    ]


def test_log_of_a_client_that_goes_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What belongs to no pull is told of where it is known what is wrong."""
    gone = LINE | {"event": "handshake", "outcome": "aborted", "digest": None}
    known = {"fault": "TLS", "finding": "no trust", "advice": "trust it"}
    path = tmp_path / "log"
    path.write_text(log_of(gone | known, gone | {"request_id": "2", "event": "base"}))
    assert watch(str(path)) == 0
    assert without_times(capsys.readouterr().out) == [
        "✕ TLS handshake  client gone: no trust  (192.0.2.7 docker/28.5.2)",
        "  next: trust it",
    ]


@pytest.mark.parametrize("count", [1, 30])
def test_log_of_text(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a log as text it is said once what to set."""
    path = tmp_path / "log"
    path.write_text("2026-11-29 13:02:11.096 INFO [::1]:4 GET /v2/: 401\n" * count)
    watch(str(path))
    captured = capsys.readouterr()
    assert captured.err.count("LOG_FORMAT=json") == 2  # In one sentence.
    assert not captured.out


@pytest.mark.parametrize("name", LINE)
@pytest.mark.parametrize(
    "value",
    [None, 3, -1, "", HOSTILE, [], {}, [{}], 1e300, True],
    ids=lambda v: repr(v)[:9],
)
def test_hostile_log(
    name: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fact of another type counts as not known, and moves no cursor."""
    path = tmp_path / "log"
    path.write_text(log_of(LINE | {name: value, "aliases": value}, LINE))
    assert watch(str(path)) in (0, 1)
    shown = capsys.readouterr()
    assert all(sign.isprintable() or sign == "\n" for sign in shown.out + shown.err)


class Watcher:
    """The command in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self.text = ""

    def says(self, words: str) -> bool:
        """Read what came, and return whether these words are in it."""
        while select.select([self._output], [], [], 0)[0]:
            try:
                piece = os.read(self._output, 1 << 16)
            except OSError:  # A terminal that nobody writes to any more.
                break
            if not piece:
                break
            self.text += piece.decode()
        return words in self.text

    def end(self) -> int:
        """Press Ctrl-C, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


def resize(terminal: int, columns: int, rows: int = 24) -> None:
    """Give the terminal another size."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def watching(
    *words: str, columns: int = 0, stdin: int = subprocess.DEVNULL, **variables: str
) -> Iterator[tuple[Watcher, int]]:
    """Run it, in a terminal of so many columns or with a pipe."""
    read, write = pty.openpty() if columns else os.pipe()
    if columns:
        resize(write, columns)
    process = subprocess.Popen(
        [sys.executable, "-m", "registry_proxy", "watch", *words],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONUTF8": "1",
            "TERM": "xterm",
            **variables,
        },
        stdin=stdin,
        stdout=write,
        stderr=write,
    )
    if not columns:
        os.close(write)
    try:
        yield Watcher(process, read), write
    finally:
        process.kill()
        process.wait()
        os.close(read)
        if columns:
            os.close(write)


def drawn(text: str) -> list[str]:
    """Return what a terminal shows that got this text, and that is high enough."""
    rows = [""]
    for piece in re.split(r"(\x1b\[\d+A\r\x1b\[J|\r?\n)", text):
        if up := re.fullmatch(r"\x1b\[(\d+)A\r\x1b\[J", piece):
            del rows[len(rows) - 1 - int(up[1]) :]
            rows.append("")
        elif piece.strip("\r") == "\n":
            rows.append("")
        else:
            rows[-1] += piece
    return rows


def test_terminal() -> None:
    """What runs is drawn in place, below the lines of what is over."""
    with showing(pull(1), running(2), running(3)) as page:
        words = ("--page", page.url)
        with watching(*words, columns=70, NO_COLOR="1") as (watcher, terminal):
            wait_until(lambda: watcher.says("org/app3"), "it is drawn")
            first, *rest = drawn(watcher.text)
            assert first == SERVED[:70] or first.startswith("✓ org/app1")
            assert all(len(line) < 70 for line in rest)
            assert [line[:10] for line in rest] == ["… org/app2", "… org/app3", ""]
            page.pulls = [pull(1), failed(2), running(3, bytes=6_000_000)]
            wait_until(lambda: watcher.says("next: "), "the second is over")
            wait_until(lambda: watcher.says("95%"), "the third goes on")
            lines = drawn(watcher.text)
            assert [line[:10] for line in lines] == [
                *("✓ org/app1", "✕ org/app2", "  next: Ch", "… org/app3", "")
            ]
            assert "\x1b[3" not in watcher.text
            resize(terminal, 30)
            page.pulls[2] = running(3, bytes=6_200_000)
            # Of what was drawn before, 69 signs take three of its rows now.
            narrow = "\x1b[3A\r\x1b[J… org/app3 → 2.3.8+rev2  [###\r"
            wait_until(lambda: watcher.says(narrow), "it is drawn anew, and narrower")
            assert watcher.end() == 130
            assert "Traceback" not in watcher.text
            assert "interrupted" not in watcher.text


def test_colours() -> None:
    """On a terminal a failure is red, unless NO_COLOR is set."""
    with (
        showing(failed(1)) as page,
        watching("--page", page.url, columns=200) as (watcher, _),
    ):
        wait_until(lambda: watcher.says("\x1b[31m✕ org/app1"), "it is red")
        assert watcher.end() == 130


def test_proxy_that_goes_and_comes_back() -> None:
    """That the proxy is gone is said once, and it goes on when that is back."""
    with showing(running(1)) as page, watching("--page", page.url) as (watcher, _):
        wait_until(lambda: watcher.says("… org/app1  begins"), "it began")
        page.stop()
        wait_until(lambda: watcher.says("; waiting for it\n"), "it is gone")
        page.pulls = [pull(1)]
        page.start()
        wait_until(lambda: watcher.says("the proxy answers again"), "it is back")
        wait_until(lambda: watcher.says(SERVED), "and so are its pulls")
        assert watcher.text.count("waiting for it") == 1
        page.status = 403
        wait_until(lambda: watcher.says("refuses the token"), "it has another token")
        assert watcher.process.wait(20) == 1


def test_log_that_goes_on() -> None:
    """A line that comes down a pipe is shown at once, before the log ends."""
    read, write = os.pipe()
    with watching("-", stdin=read) as (watcher, _):
        os.close(read)
        os.write(write, log_of(LINE).encode())
        wait_until(lambda: watcher.says("… org/app1  begins"), "it began")
        os.write(write, b"x" * 200_000)
        os.write(write, b"\n" + log_of(LINE | {"request_id": "2"}).encode())
        os.close(write)
        wait_until(lambda: watcher.says("✓ org/app1"), "it is over")
        assert watcher.process.wait(20) == 0
        assert "12.6 MB in 1.50 s" in watcher.text
