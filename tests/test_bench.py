"""`make bench`: what it makes of its figures, and that all of it runs, and ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import serve
from bench.__main__ import main
from bench.comparison import markdown, plot
from bench.comparison.api import Installation
from bench.comparison.contest import DISCIPLINES, Contest
from bench.comparison.contestant import BARE, DIRECT, NODE, PROXY
from bench.comparison.discipline import Attempt
from bench.comparison.outcome import Outcome
from bench.comparison.peer import parse_peer
from bench.comparison.progress import Progress
from bench.comparison.pull import REDIRECTING, STREAMING
from bench.comparison.sheet import Area, Quantity, Sheet, Subject
from bench.comparison.size import FULL
from bench.comparison.target import judge
from bench.load import Task, running_load
from bench.machine import this_machine
from bench.processor import Process
from bench.program import ProgramError, run, running
from bench.visit import Step
from localcloud.relay import Relay
from localcloud.server import Request, Response, Server
from serve import free_port
from tests.integration.tool import find_tool

NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc").exists(), reason="there is no /proc, which only Linux has"
)
PROGRAMS = ("docker-registry", "nginx", "skopeo", "haproxy", "node", "npm")
RUN_SECONDS = 120
DIRECT_PULL = Subject(Area.PULL, REDIRECTING, DIRECT)
PROXY_PULL = replace(DIRECT_PULL, contestant=PROXY)


def seconds(*rounds: float) -> list[dict[Quantity, float]]:
    """Return the values of some rounds."""
    return [{Quantity.SECONDS: value} for value in rounds]


def filled(values: Mapping[Subject, list[dict[Quantity, float]]]) -> Sheet:
    """Return a sheet with the values of all rounds."""
    sheet = Sheet()
    for subject, rounds in values.items():
        for one in rounds:
            sheet.add(subject, one)
    return sheet


def test_ratio_is_taken_within_a_round() -> None:
    """A machine that gets slower between two rounds does not make the proxy slower."""
    sheet = filled({DIRECT_PULL: seconds(1, 10, 1), PROXY_PULL: seconds(1.5, 11, 1.2)})
    ratio = sheet.ratio(PROXY_PULL, DIRECT_PULL, Quantity.SECONDS)
    assert ratio is not None
    assert ratio.rounds == (1.5, 1.1, 1.2)
    assert ratio.middle == 1.2


def test_target_is_judged_as_it_is_shown() -> None:
    """A ratio that reads like the limit keeps it, and one above does not."""
    for taken, is_reached in ((1.0304, True), (1.04, False)):
        sheet = filled({DIRECT_PULL: seconds(1), PROXY_PULL: seconds(taken)})
        first, second = judge(sheet)
        assert str(first.target) == f"pull, {REDIRECTING}: seconds of direct's"
        assert first.is_reached is is_reached
        # Of the other registry there is no figure.
        assert second.word == "not measured"


def test_speed_has_to_be_at_least_the_limit() -> None:
    """More megabytes in a second are better, and more memory is not."""
    subject = Subject(Area.BLOB, "plain HTTP, one", PROXY)
    values = {Quantity.SPEED: 700.0, Quantity.MEMORY_GROWTH: 25.0}
    sheet = filled(
        {
            subject: [values],
            replace(subject, contestant=NODE): [{Quantity.SPEED: 500.0}],
        }
    )
    found = {verdict.target.quantity: verdict.word for verdict in judge(sheet)}
    assert found == {
        Quantity.SPEED: "yes",
        Quantity.PROCESSOR_PER_GIGABYTE: "not measured",
        Quantity.MEMORY_GROWTH: "no",
    }


@dataclass
class Counted:
    """An attempt that writes down when it was made."""

    name: str
    made: list[str]
    is_peer: bool = False
    is_broken: bool = False
    case: str = "case"

    @property
    def subject(self) -> Subject:
        """Who it is."""
        return Subject(Area.PULL, self.case, self.name)

    def rehearse(self) -> None:
        """Count it apart."""
        self.made.append(f"rehearsed {self.name}")

    def measure(self) -> Mapping[Quantity, float]:
        """Count it, or fail from the second time on."""
        if self.is_broken and self.name in self.made:
            raise ProgramError("it broke")
        self.made.append(self.name)
        return {Quantity.SECONDS: 1.0}


def contest(
    attempts: list[Attempt], rounds: int, *, is_rehearsed: bool = False
) -> tuple[Sheet, list[str]]:
    """Return what came of a contest, and what was said."""
    said: list[str] = []
    discipline = DISCIPLINES[0]
    progress = Progress({discipline: rounds}, is_full=False)
    held = Contest(progress, said.append, is_rehearsed=is_rehearsed)
    held.hold(discipline, attempts, rounds)
    return held.sheet, said


def test_everybody_is_measured_in_each_round() -> None:
    """Every other round goes backwards, and what is rehearsed is no figure."""
    made: list[str] = []
    attempts: list[Attempt] = [Counted("a", made), Counted("b", made)]
    sheet, said = contest(attempts, 3, is_rehearsed=True)
    assert made == ["rehearsed a", "rehearsed b", *"ab", *"ba", *"ab"]
    figure = sheet.figure(attempts[0].subject, Quantity.SECONDS)
    assert figure is not None
    assert len(figure.rounds) == 3
    assert said[1] == "pull: round 1 of 3; less than a minute left"


def test_peer_that_fails_is_left_out() -> None:
    """The others go on, and of the peer no half of the rounds is kept."""
    made: list[str] = []
    attempts: list[Attempt] = [
        Counted("a", made),
        Counted("peer", made, is_peer=True, is_broken=True),
        Counted("peer", made, is_peer=True, case="another case"),
    ]
    sheet, said = contest(attempts, 2)
    assert "peer is left out of pull: it broke" in said
    assert [subject.contestant for subject in sheet.subjects(Area.PULL)] == ["a"]


def test_proxy_that_fails_ends_it() -> None:
    """A run without the proxy itself would say nothing."""
    with pytest.raises(ProgramError, match="it broke"):
        contest([Counted("a", [], is_broken=True)], 2)


def test_time_that_is_left_is_that_of_the_rounds_so_far() -> None:
    """It begins with a guess, and is corrected by each round."""
    pull, blob = DISCIPLINES[:2]
    progress = Progress({pull: 2, blob: 1}, is_full=True)
    assert re.fullmatch(r"about \d minutes left", progress.left())
    progress.measured(pull, 300)
    progress.measured(blob, 10)
    assert progress.left() == "about 5 minutes left"
    progress.measured(pull, 300)
    assert progress.left() == "less than a minute left"


@pytest.mark.parametrize(
    "text", ["node", "=a", "Name=x {port} {registry}", "a=b {port}", "a=b {port} {x}"]
)
def test_peer_without_sense_is_refused(text: str) -> None:
    """A command has to be told where to listen, and what is behind it."""
    with pytest.raises(ValueError, match=r"NAME=|has to have"):
        parse_peer(text)


def test_peer_elsewhere_is_refused() -> None:
    """The registry of the run is on this machine, and nobody else reaches it."""
    with pytest.raises(ValueError, match="not on this machine"):
        parse_peer("a=http://registry.example.com:5000")


def test_command_of_a_peer_is_filled_in() -> None:
    """What has a blank in it stays one word."""
    installation = Installation("http://api", "http://registry", "service", "issuer")
    peer = parse_peer("a=run 'a b' --at 127.0.0.1:{port} {registry}/ {api}")
    words = ["run", "a b", "--at", "127.0.0.1:80", "http://registry/", "http://api"]
    assert peer.command(installation, 80) == words


def test_client_takes_a_blob_once() -> None:
    """Without a rehearsal, and with no time to begin again."""
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(request.target)
        return Response(200, body=b"ten bytes!")

    with Server() as server, running_load() as load:
        server.application = answer
        port = int(server.host.rpartition(":")[2])
        step = Step(b"GET /blob HTTP/1.1\r\nHost: bench\r\n\r\n")
        load.prepare(Task(port, ((step,),), 3, 0, is_rehearsed=False))
        assert not asked
        assert load.work().length == 30
    assert asked == ["/blob"] * 3


@NEEDS_PROC
def test_peak_of_memory_is_that_since_it_was_forgotten() -> None:
    """What was taken before and given back does not count."""
    process = Process(os.getpid())
    bytearray(64 << 20)
    process.forget_peak()
    assert process.peak_memory() < process.memory() + (8 << 20)
    bytearray(64 << 20)
    assert process.peak_memory() > process.memory() + (32 << 20)


def test_program_that_fails_is_named(tmp_path: Path) -> None:
    """Who measures learns what it said."""
    log = tmp_path / "log"
    with (
        pytest.raises(ProgramError, match="sh ended; it said:\nno way"),
        running(["sh", "-c", "echo no way; exit 3"], free_port(), log=log),
    ):
        pass
    with pytest.raises(ProgramError, match=r"nowhere cannot be run"):
        run(["nowhere"], environment={}, seconds=1)


def test_picture_has_the_names_and_both_colours() -> None:
    """It is XML whatever a peer is called, and knows a dark page."""
    sheet = filled(
        {
            replace(DIRECT_PULL, contestant=name): seconds(value, value)
            for name, value in ((DIRECT, 1.0), (PROXY, 2.0), ("a-peer", 1.5))
        }
    )
    outcome = Outcome(this_machine(), {}, FULL, 0.0, {DISCIPLINES[0]: 2}, sheet)
    picture = plot.draw(outcome)
    texts = [element.text for element in ET.fromstring(picture).iter() if element.text]
    assert {"Whole pull", REDIRECTING, "direct", "proxy", "a-peer", "1.5"} <= set(texts)
    assert "prefers-color-scheme: dark" in picture
    widths = re.findall(r'class="bar-[\w-]+".*? width="([\d.]+)"', picture)
    assert [round(float(width) / float(widths[0]), 2) for width in widths] == [
        1,
        2,
        1.5,
    ]
    table = markdown.write(outcome)
    assert f"| {REDIRECTING} | direct | 1 |  |" in table
    assert "|  | proxy | 2 | 2 |" in table
    assert "of 10 layers of 20 MB" in table


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the benchmark with its files in that folder."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "--quick", *options],
        cwd=serve.ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def left(folder: Path) -> list[str]:
    """Return what still runs of what has something to do with the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue  # It ended meanwhile.
        if str(folder).encode() in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def four_ports() -> int:
    """Return the first of four free ports that follow each other."""
    while True:
        first = free_port()
        with ExitStack() as stack:
            try:
                for port in range(first, first + 4):
                    address = ("127.0.0.1", port)
                    stack.enter_context(socket.create_server(address))
            except OSError:
                continue
            return first


@NEEDS_PROC
def test_everything_is_measured(tmp_path: Path) -> None:
    """One run has all of it, peers too, and leaves nothing behind but its files."""
    for program in PROGRAMS:
        find_tool(program)
    folder = tmp_path / "run"
    folder.mkdir()
    first = four_ports()
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "plot", "markdown")}
    options = [word for name in files for word in (f"--{name}", str(files[name]))]
    other = f"other={sys.executable} -m nothing {{port}} {{registry}}"
    with Relay(first) as relay:
        peers = ["--peer", f"cable=http://localhost:{relay.port}", "--peer", other]
        ports = ["--first-port", str(first)]
        with started(folder, *options, *peers, *ports) as process:
            said, _ = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, said
    assert "other is left out" in said
    assert not list(folder.iterdir())
    assert not left(folder)
    found = json.loads(files["json"].read_text())
    measured = {
        (one["area"], one["case"], one["contestant"]) for one in found["results"]
    }
    assert {area for area, _, _ in measured} == set(Area)
    for case in (REDIRECTING, STREAMING):
        for contestant in (DIRECT, PROXY, NODE):
            assert ("pull", case, contestant) in measured
    assert ("pull", STREAMING, "cable") in measured
    assert ("blob", "TLS on both sides, 4 at once", NODE) in measured
    assert ("manifest", "4 connections", BARE) in measured
    # The processor's time for so little may be none, and then there is no ratio.
    values = {
        one["target"]: one["value"]
        for one in found["targets"]
        if "CPU" not in one["target"]
    }
    assert None not in values.values()
    calls = [values[name]["median"] for name in values if "pull: " in name][:4]
    assert calls == [1, 1, 0, 1]
    ET.parse(files["plot"])
    assert files["markdown"].read_text() in said


@NEEDS_PROC
def test_interrupt_ends_all_of_it(tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves no server and no file."""
    for program in PROGRAMS:
        find_tool(program)
    with started(tmp_path, "--only", "manifest", "--rounds", "50") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("manifest: round 2"):
                break
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(RUN_SECONDS) == 1
    assert "Ended; nothing is left running." in said
    assert not list(tmp_path.iterdir())
    assert not left(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--only", "nothing"], "'nothing' is none of pull, blob, "),
        (["--rounds", "0"], "'0' is not from 1 to 100"),
        (["--peer", "proxy=http://localhost:1"], "give the peer another name"),
    ],
)
def test_measurement_of_nothing_is_refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be measured is said before anything starts."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert named in capsys.readouterr().err
