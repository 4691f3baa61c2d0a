"""The proxy's own requests are shown as flows, without what is secret in them."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from mitmproxy import http
from mitmproxy.addons.view import View
from mitmproxy.test import taddons, tflow

import addon
from mitm.story import own_request
from mitm.story.kind import OwnKind
from mitm.story.record import Record
from resolver.grammar.reference import Slug
from resolver.release import query
from resolver.upstream.observer import Call, Contact, Part
from tests.mitm.sample import KEY
from tests.resolver.fake import API, LOCATION, REGISTRY, SLUG, jwt, pullable

GRANT = f"{API}/auth/v1/token?service=x&scope=repository%3A{LOCATION}%3Apull"
TARGET = f"{API}/v7/{query.target_release(Slug(SLUG))}"
CHOICE = f"{REGISTRY}/v2/{LOCATION}/blobs/sha256:{'ab' * 32}"
SIGNED = "https://storage.example/data?Signature=abc"


@pytest.fixture(params=[False, True], ids=["hidden", "shown"])
def is_open(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether mitmproxy, of which the options are read, shows secrets."""
    with taddons.context(View(), addon.RegistryProxy()) as context:
        context.options.balena_show_secrets = request.param
        yield request.param


def call(url: str, status: int = 200, body: bytes = b"{}") -> Call:
    """Return a call."""
    headers = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    times = (1000.0, 1000.25)
    purpose = f"{SLUG}/2.3"
    return Call(
        url, f"Bearer {KEY}", *times, status, headers, body, "", purpose=purpose
    )


def test_key_and_signature_are_shown_on_demand_only(*, is_open: bool) -> None:
    """The API's token loses its signature, the login what it proves (R15)."""
    token = jwt(pullable([LOCATION]))
    body = json.dumps({"token": token}).encode()
    saved = str(own_request.make_flow(call(GRANT, 200, body), None).get_state())
    assert (KEY in saved) == is_open
    assert (token in saved) == is_open
    assert token.rpartition(".")[0] in saved


def test_signature_of_a_storage_is_shown_on_demand_only(*, is_open: bool) -> None:
    """A search says whom it asked, and no URL with which a blob could be had (R15)."""
    searches = [
        replace(call(url, status), method="HEAD", is_search=True, headers=headers)
        for url, status, headers in (
            (f"{REGISTRY}/v2/{LOCATION}/blobs/x", 307, (("location", SIGNED),)),
            (SIGNED, 206, ()),
            (SIGNED, 404, ()),
        )
    ]
    flows = [own_request.make_flow(search, None) for search in searches]
    assert [(flow.comment, bool(flow.marked)) for flow in flows] == [
        ("asked registry2.example.com where the blob is: 307, in 0.250 s", False),
        ("asked storage.example where the blob is: 206, in 0.250 s", False),
        ("asked storage.example where the blob is: 404, in 0.250 s", True),
    ]
    assert [flow.metadata["balena"].get("storage") for flow in flows] == [
        *(None, "storage.example", "storage.example"),
    ]
    assert {flow.metadata["balena"]["kind"] for flow in flows} == {OwnKind.SEARCH}
    assert {flow.request.method for flow in flows} == {"HEAD"}
    for flow in flows:
        assert ("Signature" in str(flow.get_state())) == is_open


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.usefixtures("is_open")
def test_release_without_the_content_is_no_failure(status: int) -> None:
    """It was asked whether it has it; only a registry that fails stands out."""
    flow = own_request.make_flow(call(CHOICE, status), None)
    asked = "asked the registry whether it is here"
    assert flow.comment == f"{asked}: {status}, 2 bytes in 0.250 s"
    assert bool(flow.marked) == (status == 503)


@pytest.mark.usefixtures("is_open")
def test_flow_belongs_to_the_request_that_it_was_made_for() -> None:
    """Client and request id are those of the token request."""
    asked_for = tflow.tflow()
    Record("3f2a").save(asked_for)
    flow = own_request.make_flow(call(TARGET), asked_for)
    record = Record.read(flow)
    assert record
    assert (record.request_id, record.alias) == ("3f2a", f"{SLUG}/2.3")
    assert flow.client_conn.peername == asked_for.client_conn.peername
    assert flow.request.pretty_url == TARGET
    assert flow.response is not None
    assert "content-encoding" not in flow.response.headers
    assert own_request.is_own(flow)
    assert not own_request.is_own(asked_for)


def test_audience_is_shown_calls_without_an_interface() -> None:
    """The page of pulls has them also where mitmdump saves nothing."""
    told: list[str] = []

    class Listener:
        """Notes what it is told."""

        def note(self, flow: http.HTTPFlow, record: Record) -> None:
            """Take note of it."""
            told.append(f"{record.kind}: {flow.request.pretty_url}")

    async def steps() -> None:
        with taddons.context(addon.RegistryProxy()) as context:
            context.options.add_option("save_stream_file", str, "", "")
            requests = own_request.OwnRequests()
            requests.use(asyncio.get_running_loop())
            requests.seat(Listener())
            await asyncio.to_thread(requests.note, call(TARGET))
            await asyncio.sleep(0)
            assert not requests._shown
            requests.seat(None)
            await asyncio.to_thread(requests.note, call(TARGET))
            await asyncio.sleep(0)

    asyncio.run(steps())
    assert told == [f"resolution: {TARGET}"]


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
            await asyncio.to_thread(requests.note, call(TARGET))
            await asyncio.to_thread(requests.note, Contact(Part.API))
            await asyncio.sleep(0)
            await asyncio.gather(*requests._shown)
            return sum(len(view) for view in looking)

    assert asyncio.run(steps()) == int(is_watched)


def test_relayed_request_is_shown_without_who_asks(*, is_open: bool) -> None:
    """The realm's tokens are not shown, nor what query or form say of a user."""
    url = f"https://auth.example.com/token?code={KEY}&scope=repository%3Aa%3Apull"
    tokens = json.dumps({"token": KEY, "refresh_token": KEY}).encode()
    repeated = f"no user {KEY}".encode()
    for given in (
        replace(call(url, 200, tokens), is_grant=True),
        replace(call(url, 401, repeated), is_grant=True),
        replace(
            call(REGISTRY, 401, repeated),
            is_grant=True,
            method="POST",
            authorization=None,
        ),
    ):
        flow = own_request.make_flow(given, None)
        record = Record.read(flow)
        assert record
        assert record.kind is OwnKind.GRANT
        assert (KEY in str(flow.get_state())) == is_open
    headers = (("X-Auth", KEY), ("Warning", f"no {KEY}"), ("Retry-After", "7"))
    location = ("Location", f"http://u:{KEY}@host/there?sig={KEY}")
    redirect = replace(call(url, 307), is_grant=True, headers=(*headers, location))
    flow = own_request.make_flow(redirect, None)
    assert flow.response
    assert flow.response.headers["Retry-After"] == "7"
    assert "X-Auth" not in flow.response.headers
    assert (KEY in str(flow.response.headers)) == is_open
    assert (
        "scope=repository:a:pull"
        in str(
            own_request.make_flow(replace(call(url), is_grant=True), None).request.path
        )
        or is_open
    )
