"""What the page says."""

from pathlib import Path
from typing import Any

from mitmproxy.test import tflow

from mitm.story.record import Kind, Outcome, OwnKind
from tests.report.flow import (
    ALIAS,
    MESSAGE,
    docker_pull,
    make_flow,
    refused_pull,
    save,
)
from tests.report.html import Reader, make_page, page_of


def test_heading(path: Path) -> None:
    """The heading says when, where, how much, and what came of it."""
    summary = make_page(path, [*docker_pull(), *refused_pull(at=9)]).one(id="summary")
    assert "2023-11-14 22:13:20" in summary.text
    assert "UTC" in summary.text
    assert "some flows" in summary.text
    assert "registry registry.example" in summary.text
    totals = {
        one.find("dt")[0].text: one.find("dd")[0].text
        for one in summary.one("dl", class_="totals").find("div")
    }
    assert totals == {
        "pulls": "2",
        "refused": "1",
        "requests": "7",
        "of the proxy's own": "2",
        "sent to clients": "1.0 MB",
        "from first to last": "9.40 s",
    }


def test_served_pull(path: Path) -> None:
    """A pull that was served says which release, how much, how long, and why that."""
    pull = make_page(path, docker_pull()).one("section", id="pull-1")
    assert pull.find("h2")[0].text == f"{ALIAS} → is 2.3.8+rev2 (b4b201f)"
    assert pull.one(class_="badge").text == "✓ served"
    assert "1.0 MB in 1.80 s" in pull.one(class_="result").text
    assert "docker/20 at 192.0.2.7" in pull.one(class_="result").text
    decisions = pull.one("dl", class_="decisions")
    told = zip(decisions.find("dt"), decisions.find("dd"), strict=True)
    assert {name.text: value.text for name, value in told} == {
        "alias": ALIAS,
        "selector": "2.3",
        "release": "2.3.8+rev2",
        "revision": "2",
        "commit": "b4b201f0003841fd5509c6d06b45899b",
        "because": "the greatest final release of 2.3.x",
        "location": "v2/567e...",
        "look-up": "the API was asked",
        "login": "none, so only what is public is there",
        "token": "good for 4 h",
    }
    assert not pull.find(class_="why")
    assert not pull.find(class_="failures")


def test_waterfall(path: Path) -> None:
    """Each request has a row, with what the proxy asked for it below it."""
    table = make_page(path, docker_pull()).one("table", class_="waterfall")
    rows = table.one("tbody").find("tr")
    cells = [[cell.text for cell in (*row.find("th"), *row.find("td"))] for row in rows]
    assert [cell[:5] for cell in cells] == [
        ["ping", "→ 401 get a token", "", "+0 ms", "100 ms"],
        ["token", "✓ 200", "", "+200 ms", "300 ms"],
        [
            "made for the one above: look-up at the API",
            "✓ 200",
            "",
            "+250 ms",
            "100 ms",
        ],
        ["made for the one above: token at the API", "✓ 200", "", "+400 ms", "100 ms"],
        ["manifest latest (HEAD)", "✓ 200", "", "+600 ms", "100 ms"],
        ["blob sha256:abababababab", "✓ 200", "1.0 MB", "+800 ms", "1.00 s"],
    ]
    bar = rows[-1].one("svg")
    assert bar.attributes["aria-label"] == (
        "waiting for the registry 200 ms, transfer 800 ms"
    )
    assert [rect.classes for rect in bar.find("rect")] == [["registry"], ["transfer"]]


def test_refused_pull(path: Path) -> None:
    """A pull that was refused says at its top why, and what helps."""
    pull = make_page(path, refused_pull()).one("section", id="pull-1")
    why = pull.one(class_="why")
    assert why.one(class_="message").text == MESSAGE
    assert why.text.count(MESSAGE) == 1
    assert "The client asked for a token to pull" in why.text
    assert pull.text.index(why.text) < pull.text.index("Requests")
    failures = pull.one("ul", class_="failures").text
    assert failures == f"NAME_UNKNOWN {MESSAGE} token 200, manifest latest 404"


def test_private_pull(path: Path) -> None:
    """Where a login would help, the top of the pull says so."""
    why: dict[str, Any] = {"code": "DENIED", "message": "it is private"}
    token = make_flow(Kind.TOKEN, Outcome.REFUSED, target=why, **why)
    assert "docker login helps" in make_page(path, [token]).one(class_="why").text


def test_failed_pull(path: Path) -> None:
    """A pull that failed says what the proxy had asked in vain."""
    token = make_flow(Kind.TOKEN, Outcome.FAILED, status=503, message="try again later")
    asked = make_flow(
        OwnKind.RESOLUTION,
        status=503,
        at=0.01,
        comment="asked the API: 503",
        request_id=token.id,
    )
    why = make_page(path, [token, asked]).one(class_="why")
    assert why.one(class_="message").text == "try again later"
    assert why.one("ul", class_="behind").text == "asked the API: 503"


def test_second_attempt_at_the_api(path: Path) -> None:
    """What the API answered at the second attempt is told, and did no harm."""
    flows = docker_pull()
    mine: dict[str, Any] = {"request_id": flows[3].id}
    flows += [
        make_flow(OwnKind.PROBE, status=401, at=0.21, **mine),
        make_flow(OwnKind.GRANT, status=503, at=0.3, **mine, comment="was 503"),
    ]
    pull = make_page(path, flows).one("section", id="pull-1")
    assert pull.one(class_="badge").text == "✓ served"
    (failure,) = pull.one("ul", class_="failures").find("li")
    assert failure.text.startswith("was 503 token at the API 503")


def test_reason_of_a_failure_is_no_decision(path: Path) -> None:
    """Why registry or API gave no answer is not why a release was chosen."""
    why: dict[str, Any] = {"reason": "connection", "failure": "refused"}
    failed = make_flow(Kind.TOKEN, Outcome.FAILED, status=503, **why)
    assert "connection" not in make_page(path, [failed]).one(class_="decisions").text


def test_contents(path: Path) -> None:
    """The contents name pulls that failed first, then other failures, then the rest."""
    failed = make_flow(Kind.BASE, Outcome.FAILED, at=99, status=502)
    flows = [*docker_pull(), *refused_pull(at=9), failed, *docker_pull(at=20)]
    contents = make_page(path, flows).one("nav", id="contents")
    links = [link.attributes["href"] for link in contents.find("a")]
    assert links == ["#pull-2", "#others", "#pull-1", "#pull-3"]
    assert MESSAGE in contents.find("li")[0].text


def test_other_requests(path: Path) -> None:
    """Health checks take one line, and what is alike is counted."""
    flows = [make_flow(Kind.PING, path="/ping", at=n, alias="") for n in range(3)]
    flows += [
        make_flow(Kind.OTHER, Outcome.REFUSED, path="/nope", at=n, status=404, alias="")
        for n in range(2)
    ]
    flows.append(make_flow(Kind.READY, Outcome.FAILED, path="/ready", status=503))
    others = make_page(path, flows).one(id="others")
    assert others.one(id="health").text == (
        "Health checks: 3 x /ping, 1 x /ready; 1 of them said no."
    )
    assert "nope" not in others.one(class_="failures").text
    (row,) = others.one("table", class_="others").one("tbody").find("tr")
    assert row.text.endswith("unknown path /nope ✕ 404 refused 2")


def test_flows_of_others_and_a_broken_file(path: Path) -> None:
    """The page says what it leaves out, and that the file breaks off."""
    save(path, [tflow.tflow(resp=True), *docker_pull()])
    path.write_bytes(path.read_bytes()[:-9])
    shown = Reader.read(page_of(path))
    assert "1 flow in the file" in shown.one(id="foreign").text
    assert "breaks off" in shown.one(id="cut").text
