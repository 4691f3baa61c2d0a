"""What the page says."""

from pathlib import Path
from typing import Any

from mitmproxy.test import tflow

from mitm.story.kind import Kind, Outcome, OwnKind
from tests.report.flow import MESSAGE, docker_pull, make_flow, refused_pull, save
from tests.report.html import Reader, make_page, page_of


def test_bar(tmp_path: Path) -> None:
    """A bar is drawn, and read out, with what the time was spent on."""
    table = make_page(tmp_path, docker_pull()).one("table", class_="waterfall")
    bar = table.one("tbody").find("tr")[-1].one("svg")
    assert bar.attributes["aria-label"] == (
        "waiting for the registry 200 ms, transfer 800 ms"
    )
    assert [rect.classes for rect in bar.find("rect")] == [["registry"], ["transfer"]]


def test_second_attempt_at_the_api(tmp_path: Path) -> None:
    """What the API answered at the second attempt is told, and did no harm."""
    flows = docker_pull()
    mine: dict[str, Any] = {"request_id": flows[3].id}
    flows += [
        make_flow(OwnKind.PROBE, status=401, at=0.21, **mine),
        make_flow(OwnKind.GRANT, status=503, at=0.3, **mine, comment="was 503"),
    ]
    pull = make_page(tmp_path, flows).one("section", id="pull-1")
    assert pull.one(class_="badge").text == "✓ served"
    (failure,) = pull.one("ul", class_="failures").find("li")
    assert failure.text.startswith("Was 503. token from its issuer 503")


def test_reason_of_a_failure_is_no_decision(tmp_path: Path) -> None:
    """Why registry or API gave no answer is not why a release was chosen."""
    why: dict[str, Any] = {"reason": "connection", "failure": "refused"}
    failed = make_flow(Kind.TOKEN, Outcome.FAILED, status=503, **why)
    assert (
        "connection" not in make_page(tmp_path, [failed]).one(class_="decisions").text
    )


def test_contents(tmp_path: Path) -> None:
    """The contents name pulls that failed first, then other failures, then the rest."""
    failed = make_flow(Kind.BASE, Outcome.FAILED, at=99, status=502)
    flows = [*docker_pull(), *refused_pull(at=9), failed, *docker_pull(at=20)]
    contents = make_page(tmp_path, flows).one("nav", id="contents")
    links = [link.attributes["href"] for link in contents.find("a")]
    assert links == ["#pull-2", "#others", "#pull-1", "#pull-3"]
    assert MESSAGE in contents.find("li")[0].text


def test_other_requests(tmp_path: Path) -> None:
    """Health checks take one line, and what is alike is counted."""
    flows = [make_flow(Kind.PING, path="/ping", at=n, alias="") for n in range(3)]
    flows += [
        make_flow(Kind.OTHER, Outcome.REFUSED, path="/nope", at=n, status=404, alias="")
        for n in range(2)
    ]
    flows.append(make_flow(Kind.READY, Outcome.FAILED, path="/ready", status=503))
    others = make_page(tmp_path, flows).one(id="others")
    assert others.one(id="health").text == (
        "Health checks: 3 x /ping, 1 x /ready; 1 of them said no."
    )
    assert "nope" not in others.one(class_="failures").text
    (row,) = others.one("table", class_="others").one("tbody").find("tr")
    assert row.text.endswith("unknown path /nope ✕ 404 refused 2")


def test_next_step(tmp_path: Path) -> None:
    """It stands with each error in one style, and once beside what is decisive."""
    known: dict[str, Any] = {
        "fault": "storage",
        "finding": "it broke off",
        "advice": "look at its log",
    }
    flows = [
        *docker_pull(),
        make_flow(Kind.BLOB, Outcome.FAILED, at=2, digest="sha256:1", **known),
        make_flow(Kind.TAGS, Outcome.REFUSED, at=3, status=404, message="no tags"),
        make_flow(Kind.BASE, Outcome.FAILED, at=99, status=502, **known),
    ]
    page = make_page(tmp_path, flows)
    assert "What to do" not in page.text
    for place in (page.one(id="pull-1-why"), page.one(id="others")):
        assert place.one(class_="next").text == "Next: look at its log."
        assert place.find(class_="message")[0].text == "It broke off."
    errors = page.one("section", id="pull-1").one("ul", class_="failures")
    assert not errors.find(class_="next")
    assert [each.classes for each in errors.find("li")] == [
        *(["why", "failed"], ["why", "refused"]),
    ]
    others = page.one(id="others")
    assert others.one("li").classes == ["why", "failed"]
    assert "docker/20 at 192.0.2.7" in others.one("table", class_="others").text


def test_flows_of_others_and_a_broken_file(tmp_path: Path) -> None:
    """The page says what it leaves out, and that the file breaks off."""
    path = save(tmp_path / "flows", [tflow.tflow(resp=True), *docker_pull()])
    path.write_bytes(path.read_bytes()[:-9])
    shown = Reader.read(page_of(path))
    assert "1 flow in the file" in shown.one(id="foreign").text
    assert "breaks off" in shown.one(id="cut").text
