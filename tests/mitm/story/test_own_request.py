"""The proxy's own requests are shown as flows, without what is secret in them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow

import addon
from mitm.story import own_request
from mitm.story.record import OwnKind, Record
from resolver.grammar.reference import Slug
from resolver.grammar.selector import RangeReading
from resolver.release import query
from resolver.upstream.observer import Call, Contact, Part
from tests.resolver.fake import API, LOCATION, REGISTRY, SLUG, jwt, pullable

KEY = "secretkey0123456789"
GRANT = f"{API}/auth/v1/token?service=x&scope=repository%3A{LOCATION}%3Apull"


@pytest.fixture
def options() -> Iterator[taddons.context]:
    """mitmproxy, with the addon's options and somebody who looks at flows."""
    with taddons.context(View(), addon.RegistryProxy()) as context:
        yield context


def call(url: str, status: int | None = 200, body: bytes = b"{}") -> Call:
    """Return a call."""
    return Call(
        url,
        f"Bearer {KEY}",
        1000.0,
        1000.25,
        status,
        (("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
        body,
        "" if status else "OSError: nobody is there",
        purpose=f"{SLUG}/2.3",
    )


RELEASES = f"{API}/v7/{query.releases(Slug(SLUG), (RangeReading(2, None),))}"
TAGGED = f"{API}/v7/{query.greatest_releases(Slug(SLUG), 21)}"
BOTH = "the target and the greatest releases"
BASE = f"{REGISTRY}/v2/"
SEARCH = f"{REGISTRY}/v2/{LOCATION}/blobs/sha256:{'ab' * 32}"
TARGET = f"{API}/v7/{query.target_release(Slug(SLUG))}"


@pytest.mark.parametrize(
    ("url", "status", "kind", "asked"),
    [
        (BASE, 401, OwnKind.PROBE, "the registry which API it belongs to"),
        (TARGET, 200, OwnKind.RESOLUTION, f"the API for the target release of {SLUG}"),
        (RELEASES, 503, OwnKind.RESOLUTION, f"the API for releases of {SLUG}"),
        (TAGGED, 200, OwnKind.RESOLUTION, f"the API for {BOTH} of {SLUG}"),
        (SEARCH, 404, OwnKind.CHOICE, "the registry whether it is here"),
        (SEARCH, 503, OwnKind.CHOICE, "the registry whether it is here"),
        (GRANT, None, OwnKind.GRANT, "the API for a token"),
    ],
)
def test_flow_says_what_was_asked(
    options: taddons.context,  # noqa: ARG001 - the options are read
    url: str,
    status: int | None,
    kind: OwnKind,
    asked: str,
) -> None:
    """Which of its questions it was, what came, and how long it took."""
    flow = own_request.make_flow(call(url, status), None)
    result = f"{status}, 2 bytes in 0.250 s"
    if status is None:
        result = "no answer in 0.250 s, OSError: nobody is there"
    assert flow.comment == f"asked {asked}: {result}"
    record = Record.read(flow)
    assert record
    assert (record.kind, record.bytes, record.seconds) == (kind, 2, 0.25)
    assert bool(flow.marked) == (status in (503, None))
    assert own_request.is_own(flow)
    assert not own_request.is_own(tflow.tflow())


@pytest.mark.parametrize("is_open", [False, True])
def test_key_and_signature_are_shown_on_demand_only(
    options: taddons.context, *, is_open: bool
) -> None:
    """The API's token loses its signature, the login what it proves (R15)."""
    options.options.balena_show_secrets = is_open
    token = jwt(pullable([LOCATION]))
    flow = own_request.make_flow(
        call(GRANT, 200, json.dumps({"token": token}).encode()), None
    )
    saved = str(flow.get_state())
    assert (KEY in saved) == is_open
    assert (token in saved) == is_open
    assert token.rpartition(".")[0] in saved


@pytest.mark.parametrize("is_open", [False, True])
def test_signature_of_a_storage_is_shown_on_demand_only(
    options: taddons.context, *, is_open: bool
) -> None:
    """A search says whom it asked, and no URL with which a blob could be had (R15)."""
    options.options.balena_show_secrets = is_open
    signed = "https://storage.example/data?Signature=abc"
    searches = [
        replace(call(url, status), method="HEAD", is_search=True, headers=headers)
        for url, status, headers in (
            (f"{REGISTRY}/v2/{LOCATION}/blobs/x", 307, (("location", signed),)),
            (signed, 206, ()),
            (signed, 404, ()),
        )
    ]
    flows = [own_request.make_flow(search, None) for search in searches]
    assert [flow.comment for flow in flows] == [
        "asked registry2.example.com where the blob is: 307, in 0.250 s",
        "asked storage.example where the blob is: 206, in 0.250 s",
        "asked storage.example where the blob is: 404, in 0.250 s",
    ]
    assert [bool(flow.marked) for flow in flows] == [False, False, True]
    assert {flow.metadata["balena"]["kind"] for flow in flows} == {OwnKind.SEARCH}
    assert {flow.request.method for flow in flows} == {"HEAD"}
    for flow in flows:
        assert ("Signature" in str(flow.get_state())) == is_open


def test_flow_belongs_to_the_request_that_it_was_made_for(
    options: taddons.context,  # noqa: ARG001 - the options are read
) -> None:
    """Client and request id are those of the token request."""
    asked_for = tflow.tflow()
    Record("3f2a").save(asked_for)
    flow = own_request.make_flow(call(RELEASES), asked_for)
    record = Record.read(flow)
    assert record
    assert (record.request_id, record.alias) == ("3f2a", f"{SLUG}/2.3")
    assert flow.client_conn.peername == asked_for.client_conn.peername
    assert flow.request.pretty_url == RELEASES
    assert flow.response is not None
    assert "content-encoding" not in flow.response.headers


@pytest.mark.parametrize("is_watched", [True, False])
def test_flow_is_made_only_where_somebody_looks(*, is_watched: bool) -> None:
    """Mitmdump that saves nothing spends nothing on it."""
    looking = [View()] if is_watched else []

    async def steps() -> int:
        with taddons.context(*looking, addon.RegistryProxy()) as context:
            context.options.add_option("save_stream_file", str, "", "")
            context.options.add_option("hardump", str, "", "")
            requests = own_request.OwnRequests()
            requests.use(asyncio.get_running_loop())
            await asyncio.to_thread(requests.note, call(RELEASES))
            await asyncio.to_thread(requests.note, Contact(Part.API))
            await asyncio.sleep(0)
            await asyncio.gather(*requests._shown)
            return sum(len(view) for view in looking)

    assert asyncio.run(steps()) == int(is_watched)
