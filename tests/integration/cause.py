"""Faults that are made for real, and what the proxy says of each.

It is looked for in the log as JSON, in the flow that is saved, and in what is made of
that.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from markupsafe import escape
from mitmproxy import http
from mitmproxy.io import FlowReader

from cause.finding import Cause
from demo.proxy import Proxy
from localcloud import LocalCloud
from mitm.story.explain import explain
from mitm.story.record import Record
from registry_proxy.port import free_port
from report.grouping import group_requests
from report.page import Page, render
from report.phrase import sentence
from report.recording import read_recording
from tests.integration.blob import first_layer
from tests.integration.fault import ALIAS, MANIFEST, TIMEOUT_SECONDS
from tests.integration.registry import serving
from tests.integration.scripted import TOKEN, ask, get
from tests.integration.session import TIMEOUT, plain_session
from tests.integration.storage import nginx
from tests.integration.tool import has_traceback, wait_for_start, wait_until

OPTIONS = (
    *("--set", f"balena_api_timeout={TIMEOUT_SECONDS}"),
    *("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}"),
    *("--set", "balena_cache_ttl=0"),
)


MANIFEST_PATH = f"/v2/{ALIAS}/manifests/latest"
TOKEN_PATH = f"/auth/v1/token?scope=repository:{ALIAS}:pull"


@dataclass(slots=True)
class Bench:
    """Where a fault is made: servers, and a proxy that writes down what it sees."""

    folder: Path
    stack: ExitStack
    patch: pytest.MonkeyPatch
    proxy: Proxy | None = None

    def enter[R](self, context: AbstractContextManager[R]) -> R:
        """Return what a context gives, until the test ends."""
        return self.stack.enter_context(context)

    @property
    def url(self) -> str:
        """The proxy's."""
        assert self.proxy
        return f"http://{self.proxy.host}"

    @property
    def flows(self) -> Path:
        """Where the proxy saves flows."""
        return self.folder / "flows"

    def front(
        self,
        registry_url: str,
        *arguments: str,
        options: Sequence[str] = (),
        **variables: str,
    ) -> Proxy:
        """Run a proxy in front of a registry."""
        for name in [each for each in variables if each.endswith("_PROXY")]:
            self.patch.setenv(name, variables.pop(name))
        self.proxy = self.enter(
            Proxy(
                registry_url,
                environment={"LOG_FORMAT": "json", **variables},
                arguments=(*(options or OPTIONS), "-w", str(self.flows), *arguments),
            )
        )
        return self.proxy

    def named(self, name: str, address: str, *, seconds: float = 0) -> None:
        """Let the proxy find a name at an address, or fail; see `names`."""
        self.patch.setenv("KNOWN_HOSTS", f"{name}={address}")
        self.patch.setenv("KNOWN_HOSTS_SECONDS", str(seconds))

    def started(self) -> None:
        """Wait until the proxy has asked registry and API whether they are there."""
        assert self.proxy
        wait_for_start(self.proxy)

    def docker_registry(self, config: Mapping[str, Any]) -> str:
        """Run docker-registry, and return its URL."""
        port = free_port()
        self.enter(serving(self.folder, port, config))
        return f"http://localhost:{port}"

    def nginx(self, server: str, *, tls: Path | None = None) -> str:
        """Run nginx, and return its URL."""
        return f"http://localhost:{self.enter(nginx(self.folder, server, tls=tls))}"

    def lines(self) -> list[Mapping[str, Any]]:
        """Return what the log has of requests that are over."""
        assert self.proxy
        lines = (
            json.loads(line)
            for line in self.proxy.log.splitlines()
            if line.startswith("{")
        )
        return [line for line in lines if "event" in line]

    def saved(self) -> Iterator[http.HTTPFlow]:
        """Yield the flows that are saved by now."""
        with self.flows.open("rb") as file:
            for flow in FlowReader(file).stream():
                assert isinstance(flow, http.HTTPFlow)
                yield flow

    def blamed(self) -> Mapping[str, Any]:
        """Return the first line of the log that names a fault."""
        found: list[Mapping[str, Any]] = []

        def is_there() -> bool:
            found[:] = [line for line in self.lines() if "fault" in line]
            return bool(found)

        wait_until(is_there, f"a fault is named in {self.proxy and self.proxy.log}")
        assert self.proxy
        assert not has_traceback(self.proxy.log)
        return found[0]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: how it is made, and what is said of it."""

    name: str
    make: Callable[[Bench], object]
    """Makes it, and lets a client run into it."""
    fault: Cause
    sentence: Sequence[str]
    """Parts of what is said to be wrong, in their order."""
    advice: str
    """A part of what is said to do."""


def check(fault: Fault, bench: Bench) -> None:
    """Make a fault, and see that it is named wherever somebody looks."""
    fault.make(bench)
    line = bench.blamed()
    assert line["fault"] == fault.fault, line
    position = 0
    for part in fault.sentence:
        position = line["finding"].find(part, position)
        assert position >= 0, line["finding"]
    assert fault.advice in line["advice"]
    assert line["finding"] in line["message"]
    assert f"next: {line['advice']}" in line["message"]

    def is_saved() -> bool:
        return any(map(_is_blamed(line), bench.saved()))

    wait_until(is_saved, "the flow is saved")
    flow = next(filter(_is_blamed(line), bench.saved()))
    story = " ".join(explain(flow))
    assert line["finding"] in story
    assert line["advice"] in story
    recording = read_recording(bench.flows)
    page = render(Page(recording, group_requests(recording.requests)))
    assert escape(sentence(line["finding"]).removesuffix(".")) in page
    assert escape(line["advice"]) in page


def _is_blamed(line: Mapping[str, Any]) -> Callable[[http.HTTPFlow], bool]:
    """Return what knows the flow that a line of the log is about."""

    def is_it(flow: http.HTTPFlow) -> bool:
        record = Record.read(flow)
        return (
            record is not None
            and record.request_id == line["request_id"]
            and record.fault == line["fault"]
            and record.finding == line["finding"]
            and record.advice == line["advice"]
        )

    return is_it


def cloud_of(bench: Bench, **options: bool) -> LocalCloud:
    """Run a registry with its API."""
    return bench.enter(LocalCloud(**options))  # type: ignore[arg-type]


def ping(bench: Bench) -> None:
    """Ask whether a registry is there."""
    assert bench.proxy
    get(bench.proxy, "/v2/")


def token_of(bench: Bench) -> str:
    """Ask for a token; return another one where none is given."""
    answer = ask(f"{bench.url}{TOKEN_PATH}")
    return str(answer.json()["token"]) if answer.ok else TOKEN


def pull(bench: Bench) -> None:
    """Ask for a token and for the manifest, as clients do, whatever comes of it."""
    ask(f"{bench.url}{MANIFEST_PATH}", token_of(bench))


def layer_of(bench: Bench) -> str:
    """Return the path of a blob."""
    with plain_session() as session:
        session.headers["Authorization"] = f"Bearer {token_of(bench)}"
        session.headers["Accept"] = MANIFEST
        return f"/v2/{ALIAS}/blobs/{first_layer(session, bench.url, ALIAS)[0]}"


def take_blob(bench: Bench, **headers: str) -> None:
    """Ask for a blob, whatever comes of it."""
    path, token = layer_of(bench), token_of(bench)
    with plain_session() as session, suppress(requests.RequestException):
        session.headers.update({"Authorization": f"Bearer {token}", **headers})
        session.get(f"{bench.url}{path}", timeout=TIMEOUT, allow_redirects=False)
