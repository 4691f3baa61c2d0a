"""`make soak`: what it holds for explained, what it finds, and how it says so."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import serve
from localcloud.account import KEYS
from soak.__main__ import main, parse_minutes
from soak.course import warm_up_seconds
from soak.fault import BREAKAGES, Breakage, History, Part
from soak.log import examine_log
from soak.measure import Meter, Ports, Sample, slope
from soak.outcome import (
    BROKEN,
    CLOSED,
    LEFT,
    PATIENCE_SECONDS,
    SILENT,
    Exchange,
    Outcome,
    Question,
    Tally,
    judge,
)
from soak.pull import is_image
from soak.reply import Reply, wrong_digest
from soak.report import Record, Report, list_growths

SECONDS = 60
BROKEN_AT, MENDED_AT = 100.0, 102.0
API = frozenset({Part.API})
EMPTY_DIGEST = f"sha256:{hashlib.sha256().hexdigest()}"
KEY = "key-of-somebody"
MOMENT = Sample(0.0, memory=80_000, files=20, threads=10, registry=1, api=9)


class Clock:
    """Says the time that it was told."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def history() -> History:
    """The API hung from 100 to 102, and nothing else was ever broken."""
    clock = Clock(BROKEN_AT)
    made = History(clock)
    made.begin(breakage("API hanging"))
    clock.now = MENDED_AT
    made.end()
    return made


def breakage(name: str) -> Breakage:
    """Return the one that is called so."""
    (found,) = (breakage for breakage in BREAKAGES if str(breakage) == name)
    return found


def exchange(
    came: str,
    began: float = 0.0,
    ended: float | None = None,
    *,
    question: Question | None = None,
    defect: str = "",
) -> Exchange:
    """Return one in which a token was asked for, and this came."""
    asked = question or Question("GET /token", ("200",), API)
    return Exchange(asked, came, began, began if ended is None else ended, defect)


@pytest.mark.parametrize(
    ("made", "outcome", "detail"),
    [
        pytest.param(exchange("200"), Outcome.GRANTED, "200", id="granted"),
        pytest.param(
            exchange("404 X", question=Question("GET /x", ("404 X",))),
            Outcome.REFUSED,
            "404 X",
            id="refused",
        ),
        pytest.param(
            exchange(CLOSED, question=Question("nonsense", (CLOSED,))),
            Outcome.REFUSED,
            CLOSED,
            id="refused by closing",
        ),
        pytest.param(
            exchange(LEFT, question=Question("GET /x", (LEFT,))),
            Outcome.LEFT,
            LEFT,
            id="left",
        ),
        pytest.param(
            exchange("503 UNAVAILABLE", 101.0),
            Outcome.FAILED,
            "API hanging",
            id="failed during a fault",
        ),
        pytest.param(
            exchange("429 TOOMANYREQUESTS", 99.0, 100.5),
            Outcome.FAILED,
            "API hanging",
            id="failed after a fault began",
        ),
        pytest.param(
            exchange("503 UNAVAILABLE", 105.0),
            Outcome.FAILED,
            "API hanging",
            id="failed within the aftermath",
        ),
        pytest.param(
            exchange("503 UNAVAILABLE", 107.0),
            Outcome.UNEXPLAINED,
            "503 UNAVAILABLE",
            id="failed long after a fault",
        ),
        pytest.param(
            exchange("503 UNAVAILABLE", 98.0, 99.0),
            Outcome.UNEXPLAINED,
            "503 UNAVAILABLE",
            id="failed before a fault",
        ),
        pytest.param(
            exchange(
                "502 UNAVAILABLE",
                101.0,
                question=Question("GET /x", ("200",), frozenset({Part.REGISTRY})),
            ),
            Outcome.UNEXPLAINED,
            "502 UNAVAILABLE",
            id="failed for want of a part that works",
        ),
        pytest.param(
            exchange("500 UNKNOWN", 101.0),
            Outcome.UNEXPLAINED,
            "500 UNKNOWN",
            id="a bug during a fault",
        ),
        pytest.param(
            exchange("404 NAME_UNKNOWN", 101.0),
            Outcome.UNEXPLAINED,
            "404 NAME_UNKNOWN",
            id="a failure turned into a 404",
        ),
        pytest.param(
            exchange(CLOSED, 101.0),
            Outcome.UNEXPLAINED,
            CLOSED,
            id="closed during a fault",
        ),
        pytest.param(
            exchange(BROKEN, 101.0),
            Outcome.UNEXPLAINED,
            BROKEN,
            id="broken off, and no blob",
        ),
        pytest.param(
            exchange(SILENT, 101.0, 101.0 + PATIENCE_SECONDS),
            Outcome.UNEXPLAINED,
            SILENT,
            id="silent during a fault",
        ),
        pytest.param(
            exchange("200", 0.0, PATIENCE_SECONDS + 1.0),
            Outcome.UNEXPLAINED,
            "200 after 16.0 s",
            id="late",
        ),
        pytest.param(
            exchange(
                "200",
                0.0,
                PATIENCE_SECONDS + 1.0,
                question=Question("GET /x", ("200",), is_slow=True),
            ),
            Outcome.GRANTED,
            "200",
            id="late by the client itself",
        ),
        pytest.param(
            exchange("200", 101.0, defect="wrong digest"),
            Outcome.UNEXPLAINED,
            "wrong digest",
            id="wrong bytes during a fault",
        ),
    ],
)
def test_outcome(
    history: History, made: Exchange, outcome: Outcome, detail: str
) -> None:
    """Each exchange is judged by what came, and by what was broken at the time."""
    verdict = judge(made, history)
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


def test_fault_lasts_until_it_is_mended() -> None:
    """What fails while a fault goes on is explained, however long that takes."""
    clock = Clock()
    history = History(clock)
    assert history.current() is None
    history.begin(breakage("registry down"))
    clock.now = 50.0
    assert history.current() == breakage("registry down")
    assert history.explain({Part.REGISTRY}, 40.0, 41.0) == breakage("registry down")
    history.end()
    assert history.current() is None
    assert len(history) == 1


def test_wrong_digest_is_seen() -> None:
    """Content, and the image that a manifest belongs to, are held to their digests."""
    assert wrong_digest(b"", EMPTY_DIGEST) == ""
    assert wrong_digest(b"x", EMPTY_DIGEST).startswith("wrong digest sha256:")
    check = is_image(EMPTY_DIGEST)
    named = {"Docker-Content-Digest": EMPTY_DIGEST}
    assert check(Reply(200, named, b"")) == ""
    assert check(Reply(200, named, b"x")).startswith("wrong digest")
    assert check(Reply(200, {}, b"")) == "wrong image None"


def test_unexplained_failure_makes_the_status(history: History) -> None:
    """It is listed with what was asked, and the soak fails; else it does not."""
    tally = Tally(history, Clock())
    report = Report(60.0, 12, 1, tally, Record(MOMENT, MOMENT, MOMENT, [MOMENT]))
    tally.note(exchange("503 UNAVAILABLE", 101.0))
    tally.note(exchange("200"))
    assert report.status == 0
    assert "nothing grows" in str(report)
    tally.note(exchange("503 UNAVAILABLE"))
    assert report.status == 1
    assert "\nfailed by a fault   1: API hanging 1\n" in str(report)
    assert "\nunexplained         1\n" in str(report)
    assert "\nunexplained: GET /token: 503 UNAVAILABLE; expected 200\n" in str(report)


def test_interruption_explains_what_broke_with_it(history: History) -> None:
    """Ctrl-C ends the proxy as well, so what fails in that second is no finding."""
    clock = Clock(10.0)
    tally = Tally(history, clock)
    tally.find("before")
    clock.now = 20.0
    tally.find("with it")
    clock.now = 20.5
    tally.interrupt()
    assert [finding.text for finding in tally.findings] == ["before"]


def test_growth_is_said(history: History) -> None:
    """What the proxy takes at rest is compared, and more of it fails the soak."""
    assert list_growths(MOMENT, MOMENT) == []
    grown = Sample(
        9.0, memory=180_000, files=70, threads=90, clients=0, registry=4, api=40
    )
    record = Record(MOMENT, MOMENT, grown, [MOMENT, grown])
    report = Report(60.0, 12, 0, Tally(history, Clock()), record)
    assert report.status == 1
    assert str(report).endswith(
        "\ngrows: RSS, from 78.1 to 175.8 MB"
        "\ngrows: open files, from 10 to 26 beside connections that are kept"
        "\ngrows: threads, 90 at rest, more than 48"
        "\ngrows: connections to the registry, 4 at rest, more than 2"
        "\ngrows: connections to the API, 40 at rest, more than 32"
    )


def test_connections_that_are_kept_are_no_growth() -> None:
    """The proxy keeps some to the API, as many as were needed at once."""
    more = Sample(9.0, memory=80_000, files=41, threads=33, registry=1, api=30)
    assert list_growths(MOMENT, more) == []


def test_slope_is_that_of_least_squares() -> None:
    """It is in kilobytes a minute, and nothing where there is too little to tell."""
    rising = [Sample(60.0 * n, 1000 + 50 * n, 0, 0) for n in range(5)]
    assert slope(rising) == pytest.approx(50.0)
    assert slope(rising[:1]) == 0.0
    assert slope([]) == 0.0


def test_without_proc_nothing_is_measured(history: History, tmp_path: Path) -> None:
    """Where there is no /proc the report says so, and judges the answers alone."""
    assert Meter(os.getpid(), Ports(1, 2, 3), proc=tmp_path).read() is None
    report = Report(60.0, 12, 0, Tally(history, Clock()), Record())
    assert report.status == 0
    assert "No /proc here" in str(report)
    assert "whether anything grows was not measured" in str(report)


def test_log_is_examined() -> None:
    """Tracebacks are counted by where they come from, and secrets are not repeated."""
    log = (
        "[12:00:00.000] all is well\n"
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in f\n'
        "    f()\n"
        f"ValueError: {KEY}\n"
    )
    assert examine_log("all is well", [KEY]) == []
    assert examine_log(log * 2, [KEY]) == [
        "traceback in the log: a.py in line 1: ValueError: [redacted] (2 times)",
        "a key stands in the log (2 times)",
    ]
    ended = log.replace(f"ValueError: {KEY}", "asyncio.exceptions.CancelledError")
    assert len(examine_log(ended, [KEY])) == 1
    assert examine_log(ended, [KEY], is_interrupted=True) == []


def test_warm_up_is_a_tenth_and_ten_seconds_at_least() -> None:
    """A short soak has at least as much of the rest."""
    assert warm_up_seconds(1200.0) == 120.0
    assert warm_up_seconds(60.0) == 10.0
    assert warm_up_seconds(6.0) == 3.0


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1e9", "20 min"])
def test_minutes_that_make_no_sense(text: str) -> None:
    """The message names the value, and what would have worked."""
    with pytest.raises(ValueError, match=r"^MINUTES: '.*, as in 20 or 0\.5$") as wrong:
        parse_minutes(text)
    assert repr(text) in str(wrong.value)


def test_wrong_minutes_end_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is started for them."""
    monkeypatch.setenv("MINUTES", "long")
    with pytest.raises(SystemExit, match=r"^soak: MINUTES: 'long' is no number"):
        main()


def test_short_soak_finds_nothing() -> None:
    """A few seconds end with status 0, a report with all its rows, and no secret."""
    done = subprocess.run(
        [sys.executable, "-m", "soak"],
        cwd=serve.ROOT,
        env={"PATH": os.environ["PATH"], "MINUTES": "0.05"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    rows = re.findall(r"^(\w[\w ,]*?)  +(\S.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == [
        *("duration", "clients", "requests", "pulls", "content"),
        *("granted", "refused rightly", "left by the client", "failed by a fault"),
        *("faults", "unexplained"),
        *("RSS, MB", "open files", "threads"),
        *("from clients", "to the registry", "to the API", "RSS, second half"),
    ]
    values = dict(rows)
    assert values["unexplained"] == "0"
    assert values["faults"] != "0"
    assert int(values["pulls"].split(",")[0]) > 0
    assert "nothing grows" in done.stdout
    assert not [key for key in KEYS.values() if key in done.stdout]
    assert "eyJ" not in done.stdout


def test_interruption_ends_everything() -> None:
    """Ctrl-C ends it with the report so far, no finding, and nothing running."""
    with subprocess.Popen(
        [sys.executable, "-m", "soak"],
        cwd=serve.ROOT,
        env={"PATH": os.environ["PATH"], "MINUTES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("12 clients ask http://")
            os.killpg(process.pid, signal.SIGINT)
            printed, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, printed
            assert ", interrupted\n" in printed
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
