"""What the page never does, whatever is in a flow."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from mitm.story.alias import AliasRecord
from mitm.story.kind import Kind, Outcome, OwnKind
from mitm.story.record import Record
from tests.report.flow import docker_pull, make_flow, refused_pull
from tests.report.html import Reader, page_source

HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(1)>{{ 7*7 }}"""


def test_hostile_flows(tmp_path: Path) -> None:
    """Markup in whatever a client or registry chose is text on the page."""
    used = {"kind", "outcome", "seconds", "login", "aliases", "path", "method"}
    names = {each.name for each in fields(Record)} - used - {"status", "alias"}
    facts: dict[str, Any] = dict.fromkeys(names, HOSTILE)
    target = dict.fromkeys((each.name for each in fields(AliasRecord)), HOSTILE)
    flows = [
        make_flow(kind, outcome, alias=HOSTILE, comment=HOSTILE, target=target, **facts)
        for kind in (*Kind, *OwnKind)
        for outcome in (Outcome.FAILED, Outcome.SERVED)
    ]
    for one in flows:
        one.request.headers["User-Agent"] = HOSTILE.replace(" ", "")
        one.request.host = "<script>"
        one.request.method = "<B>"
        one.client_conn.peername = (HOSTILE, 1)
    text = page_source(tmp_path, flows)
    shown = Reader.read(text)
    assert not shown.find("script")
    assert not shown.find("img")
    assert not shown.find("b")
    handlers = [
        name for one in shown.all() for name in one.attributes if name[:2] == "on"
    ]
    assert not handlers
    assert HOSTILE in shown.one("nav").text
    assert "49" not in shown.one("nav").text


def test_page_stands_alone(tmp_path: Path) -> None:
    """Nothing is loaded from anywhere, nothing runs, and every link has its end."""
    text = page_source(tmp_path, [*docker_pull(), *refused_pull(at=9)])
    shown = Reader.read(text)
    assert not shown.find("script")
    assert not [one for one in shown.all() if {"src", "srcset"} & {*one.attributes}]
    ids = [one.attributes["id"] for one in shown.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    links = [one.attributes["href"] for one in shown.all() if "href" in one.attributes]
    links += re.findall(r"url\(([^)]*)\)", text)
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert not re.search(r"https?://|@import", text)
    assert "default-src 'none'" in text
