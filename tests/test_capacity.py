"""`make capacity`: what it counts, what it makes of that, and that it runs."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.ballast import Ballast
from bench.capacity import main
from bench.case import MEGA, Name, all_cases
from bench.certificate import make_certificate
from bench.cloud import running_cloud
from bench.estimate import Shape, pulls_per_processor_second
from bench.figure import Figure, quantile, shown
from bench.load import LoadError, Task, running_load
from bench.machine import this_machine
from bench.measurement import Result, measure
from bench.processor import Process
from bench.report import Report
from bench.scene import Scene
from bench.table import format_table
from bench.visit import Step
from demo.proxy import Proxy
from localcloud.server import Request, Response, Server

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc").exists(), reason="there is no /proc, which only Linux has"
)


@NEEDS_PROC
def test_processor_time_is_that_of_the_process() -> None:
    """Work counts, in whatever thread of it, and waiting does not."""
    process = Process(os.getpid())
    before, began = process.processor_seconds(), time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert 0.08 <= process.processor_seconds() - before <= 0.2
    assert process.memory() > 1 << 20


@NEEDS_PROC
def test_name_of_a_process_may_be_anything(tmp_path: Path) -> None:
    """A name with blanks and brackets does not move what stands behind it."""
    folder = tmp_path / "7"
    folder.mkdir()
    before = "R 1 7 7 0 -1 4194304 100 0 0 0"
    (folder / "stat").write_text(f"7 (a) 9 (b)) {before} 150 50 0 0 20 0 1\n")
    ticks = os.sysconf("SC_CLK_TCK")
    assert Process(7, proc=tmp_path).processor_seconds() == 200 / ticks


def test_machine_without_a_model_is_named_by_its_kind(tmp_path: Path) -> None:
    """An ARM machine's list of processors has no model in it."""
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("processor\t: 0\nBogoMIPS\t: 243.75\n")
    assert this_machine(cpu_info).processor
    cpu_info.write_text("processor\t: 0\nmodel name\t: A CPU\n")
    assert this_machine(cpu_info).processor == "A CPU"


def test_figure_is_the_median_with_its_spread() -> None:
    """A round that was disturbed moves the spread, and not the figure."""
    figure = Figure((512.3, 498.1, 90.0))
    assert str(figure) == "498 (90-512)"
    assert figure.as_json()["rounds"] == [512.3, 498.1, 90.0]


@pytest.mark.parametrize(
    ("number", "text"),
    [(1234.5, "1,230"), (99.96, "100"), (20.31, "20.3"), (0.5, "0.5"), (7.0, "7")],
)
def test_number_has_three_digits(number: float, text: str) -> None:
    """More of them would claim what no measurement holds."""
    assert shown(number) == text


def test_quantile_is_one_of_the_numbers() -> None:
    """Half are not above the median, and all are not above the last."""
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([3, 1, 2], 0.99) == 3


def test_columns_stand_below_each_other() -> None:
    """Names to the left, figures to the right."""
    table = format_table(("what", "a", "b"), [("one", "1", "10"), ("three", "100", "")])
    assert table.splitlines() == ["what     a   b", "one      1  10", "three  100"]


def test_pull_costs_the_sum_of_its_requests() -> None:
    """Challenge, token, manifest twice, blobs; and a connection for each, or none."""
    rates = dict.fromkeys(Name, 1000.0)
    kept = Shape(blobs=6, is_kept=True)
    assert kept.requests == 10
    assert pulls_per_processor_second(kept, rates) == pytest.approx(100)
    # A connection to the client takes 1 ms, and one to the registry another 2.
    rates |= {Name.PING_NEW: 500.0, Name.MANIFEST_NEW: 250.0}
    new = Shape(blobs=6)
    assert 1 / pulls_per_processor_second(new, rates) == pytest.approx(0.038)
    rates[Name.STREAM] = 500.0
    streamed = Shape(blobs=6, megabytes=31, is_kept=True)
    assert 1 / pulls_per_processor_second(streamed, rates) == pytest.approx(0.072)


@pytest.mark.parametrize("is_kept", [True, False])
def test_clients_do_what_they_are_told(*, is_kept: bool) -> None:
    """They do what comes first once, and then count what they are measured by."""
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(request.target)
        return Response(200, body=b"ten bytes!")

    with Server() as server, running_load() as load:
        server.application = answer
        port = int(server.host.rpartition(":")[2])
        first = Step(REQUEST.replace(b"/ ", b"/first ", 1))
        visit = (Step(REQUEST), Step(REQUEST))
        task = Task(port, (visit,), 3, 0.2, first=(first,), is_kept=is_kept)
        load.prepare(task)
        before = len(asked)
        work = load.work()
        assert asked.count("/first") == 3
        assert before == 3 + 3 * len(visit)
        assert len(asked) - before == len(visit) * len(work.visits)
        assert work.length == 10 * len(visit) * len(work.visits)


def test_wrong_answer_is_no_figure() -> None:
    """An error is quick to answer, so it ends the measurement and is named."""
    with Server() as server, running_load() as load:
        server.application = lambda _: Response(503)
        port = int(server.host.rpartition(":")[2])
        with pytest.raises(LoadError, match=r"GET / HTTP/1\.1: 503 in place of 200"):
            load.prepare(Task(port, ((Step(REQUEST),),), 1, 0.1))


@NEEDS_PROC
def test_requests_and_pulls_are_measured(tmp_path: Path) -> None:
    """Clients of a real proxy get tokens, manifests and blobs, also over TLS."""
    files = make_certificate(tmp_path)
    small = Ballast("bench/tiny", layers=1, layer_bytes=1000)
    said: list[str] = []
    with running_cloud(files, small, is_redirecting=False) as cloud:
        trust = ("--set", f"ssl_verify_upstream_trusted_ca={files.authority}")
        variables = {"API_URL": cloud.api_url, "TLS": "authority"}
        with (
            running_load() as load,
            Proxy(cloud.registry_url, environment=variables, arguments=trust) as proxy,
        ):
            image = cloud.images[0]
            scene = Scene(proxy, proxy, proxy, image, image, image)
            wanted = {Name.LOOKED_UP, Name.MANIFEST_NEW, Name.STREAM, Name.PULL_STREAM}
            cases = [
                replace(case, clients=2)
                for case in all_cases(scene)
                if case.name in wanted
            ]
            found = measure(cases, load, rounds=2, seconds=0.1, say=said.append)
    assert said == ["round 1 of 2", "round 2 of 2"]
    assert {(result.name, result.is_tls) for result in found} == {
        (name, is_tls) for name in wanted for is_tls in (False, True)
    }
    for result in found:
        assert len(result.per_processor_second.rounds) == 2
        assert result.per_processor_second.spread[0] > 0


def test_report_has_every_figure() -> None:
    """What was measured stands in the table, and in the file."""
    figure = Figure((500.0,))
    results = [
        Result(name, is_tls, figure, figure, figure, figure)
        for name in Name
        for is_tls in (False, True)
    ]
    pulls = (Name.PULL_NEW, Name.PULL_KEPT, Name.PULL_STREAM)
    shapes = {name: Shape(9, 50.0) for name in pulls}
    report = Report(this_machine(), shapes, results, memory=100 * MEGA)
    for name in Name:
        assert f"\n  {name}  " in str(report)
    for text in ("A pull is 13 requests", "and 9 blobs", "are 50 MB", "took 100 MB"):
        assert text in str(report)
    kept = json.loads(json.dumps(report.as_json()))
    assert len(kept["results"]) == len(results)
    assert len(kept["estimates"]) == 2 * len(shapes)


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--seconds", "0.01"], ["--rounds", "many"]]
)
def test_measurement_of_nothing_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No round, or no time, would be no figure."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err
