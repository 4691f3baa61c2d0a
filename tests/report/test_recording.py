"""What is read of a flow file, and what is said of one that is none."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy.test import tflow

from mitm.story.kind import Kind
from mitm.story.record import KEY
from report.recording import RecordingError, read_recording
from tests.report.flow import docker_pull, make_flow, save


def without_facts(path: Path) -> None:
    """Save a flow as this proxy did before it noted facts."""
    flow = tflow.tflow(resp=True)
    flow.metadata["balena.alias"] = "org/app"
    save(path, [flow])


FILES: dict[str, Callable[[Path], object]] = {
    "No such file or directory": lambda _path: None,
    "Is a directory": Path.mkdir,
    "is empty": Path.touch,
    "is no flow file": lambda path: path.write_text("GET / HTTP/1.1\n"),
    "breaks off in its first flow": lambda path: path.write_bytes(
        save(path, docker_pull()).read_bytes()[:99]
    ),
    "is a HAR file": lambda path: path.write_text(json.dumps({"log": {"entries": []}})),
    "has 2 flows, and none of this proxy; record with make run ARGS='-w flows'": (
        lambda path: save(path, [tflow.tflow(resp=True), tflow.ttcpflow()])
    ),
    "has one flow without facts": without_facts,
}


@pytest.mark.parametrize("message", FILES)
def test_files_without_a_pull(message: str, tmp_path: Path) -> None:
    """What is no recording of the proxy is refused, in one line that says why."""
    path = tmp_path / "flows"
    FILES[message](path)
    with pytest.raises(RecordingError, match=re.escape(message)) as raised:
        read_recording(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_other_flows_are_counted(tmp_path: Path) -> None:
    """Somebody else's flows in the file are left out, and counted."""
    others = [tflow.tflow(resp=True), tflow.ttcpflow(), tflow.tdnsflow()]
    recording = read_recording(save(tmp_path / "flows", [*docker_pull(), *others]))
    assert len(recording.requests) == 6
    assert recording.foreign == 3
    assert not recording.is_cut


@pytest.mark.parametrize("missing", [1, 40, 400])
def test_file_that_breaks_off(missing: int, tmp_path: Path) -> None:
    """Of a file that breaks off, what was whole is read, and it is noted."""
    path = save(tmp_path / "flows", docker_pull())
    path.write_bytes(path.read_bytes()[:-missing])
    recording = read_recording(path)
    assert len(recording.requests) == 5
    assert recording.is_cut


def test_requests_come_in_the_order_of_time(tmp_path: Path) -> None:
    """A flow is saved when it is over, and read in the order in which they began."""
    late, early = make_flow(Kind.TAGS, at=1), make_flow(Kind.MANIFEST, at=0, seconds=9)
    recording = read_recording(save(tmp_path / "flows", [late, early]))
    assert [one.kind for one in recording.requests] == ["manifest", "tags"]


@pytest.mark.parametrize("name", ["seconds", "bytes", "kind", "alias", "aliases"])
@pytest.mark.parametrize("value", [-1, float("nan"), 1e300, "", "much", 10**30, True])
def test_absurd_facts(name: str, value: float | str, tmp_path: Path) -> None:
    """A number that is none, or absurd, counts as not known."""
    flows = [make_flow(Kind.BLOB), make_flow(Kind.PING)]
    flows[0].metadata[KEY][name] = value
    for request in read_recording(save(tmp_path / "flows", flows)).requests:
        assert 0 <= request.seconds < 1000
        assert request.record.bytes is None
