"""The command that makes a page."""

from pathlib import Path

import pytest

from registry_proxy.command import main
from tests.report.flow import docker_pull, refused_pull, save


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flow file in another folder than the one that we are in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return save(tmp_path / "my.flows", [*docker_pull(), *refused_pull(at=9)])


def test_page_is_named_after_the_flows(
    flows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page stands in the current folder, and what is printed says where."""
    assert main(["report", str(flows)]) == 0
    page = tmp_path / "here" / "my.flows.html"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out == f"2 pulls, 7 requests, 1 failed: {page}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "FLOWS is missing: make report FLOWS=<flow file>"),
        (["../none"], "../none: No such file or directory"),
        (["../my.flows", "-o", "no/page"], "no/page: No such file or directory"),
        (["../my.flows", "-o", "../my.flows"], "../my.flows is the flow file itself"),
    ],
)
@pytest.mark.usefixtures("flows")
def test_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done is said in one line, and the exit status is 1."""
    assert main(["report", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_flows_stay_as_they_are(flows: Path) -> None:
    """The flow file is never written to."""
    before = flows.read_bytes()
    main(["report", str(flows), "-o", str(flows)])
    assert flows.read_bytes() == before
