"""What the page never does, whatever is in a flow."""

import base64
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from mitmproxy import http

from mitm.story.record import AliasRecord, Kind, Outcome, OwnKind, Record
from tests.report.flow import LOCATION, docker_pull, make_flow, refused_pull
from tests.report.html import Reader, page_source

KEY = "carolkey0000000000000000000000000"
LOGIN = base64.b64encode(f"carol:{KEY}".encode()).decode()
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
JWT = f"eyJhbGciOiJFUzI1NiJ9.eyJhY2Nlc3MiOltdfQ.{SIGNATURE}"
HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(1)>{{ 7*7 }}"""


def test_hostile_flows(path: Path) -> None:
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
    text = page_source(path, flows)
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


def with_secrets() -> list[http.HTTPFlow]:
    """Return a pull that was saved with its secrets, and has them where none belong."""
    flows = docker_pull()
    base, resolution, grant, token, manifest, blob = flows
    token.request.headers["Authorization"] = f"Basic {LOGIN}"
    token.request.text = f"grant_type=password&username=carol&password={KEY}"
    token.request.path += f"?scope=x&account=carol&key={KEY}"
    assert token.response
    token.response.text = f'{{"token": "{JWT}~eyJ2IjoxfQ", "expires_in": 14400}}'
    for one in (resolution, grant):
        one.request.headers["Authorization"] = f"Basic {LOGIN}"
    for one in (manifest, blob):
        one.request.headers["Authorization"] = f"Bearer {JWT}~eyJ2IjoxfQ"
    base.comment = f"someone pasted {JWT} here, and {LOGIN}"
    strange = make_flow(Kind.OTHER, path=f"/{KEY}/{SIGNATURE}", alias="", at=1.5)
    return [*flows, strange]


def test_secrets_of_flows(path: Path) -> None:
    """Neither key, login, token nor signature are on the page, wherever they stood."""
    text = page_source(path, with_secrets())
    saved = path.read_bytes().decode("latin-1")
    for secret in (KEY, LOGIN, SIGNATURE, JWT, "eyJ2IjoxfQ"):
        assert secret in saved
        assert secret not in text
    assert "good for 4 h" in text
    assert "someone pasted [redacted] here, and [redacted]" in text
    assert LOCATION in saved
    assert LOCATION not in text


def test_page_stands_alone(path: Path) -> None:
    """Nothing is loaded from anywhere, nothing runs, and every link has its end."""
    text = page_source(path, [*docker_pull(), *refused_pull(at=9)])
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
