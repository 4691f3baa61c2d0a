"""Which requests are taken for one pull."""

from typing import Any

import pytest

from mitm.story.kind import Kind, Login, Outcome, OwnKind
from report.grouping import group_requests
from report.request import Request
from tests.report.flow import (
    ALIAS,
    DIGEST,
    docker_pull,
    make_flow,
    refused_pull,
    requests_of,
)
from tests.report.open import LAYERS, open_pull, refused_push


def kinds(requests: list[Request]) -> list[str]:
    """Return what each request asked for."""
    return [request.kind for request in requests]


def test_pull_of_docker() -> None:
    """Ping, token, manifest and blobs are a pull, with what the proxy asked for it."""
    groups = group_requests(requests_of(docker_pull()))
    (pull,) = groups.pulls
    assert kinds(pull.requests) == ["base", "token", "manifest", "blob"]
    assert kinds(pull.rows)[1:4] == ["token", "resolution", "grant"]
    assert not groups.others


def test_one_after_the_other() -> None:
    """Each command of docker begins with a ping, so two are two pulls."""
    again = docker_pull(at=3)
    groups = group_requests(requests_of([*docker_pull(), *again]))
    assert [len(pull.requests) for pull in groups.pulls] == [4, 4]
    assert not groups.others


def test_right_after_a_refusal() -> None:
    """Somebody who tries again at once, with a login, begins another pull."""
    groups = group_requests(requests_of([*refused_pull(), *docker_pull(at=0.45)]))
    assert [pull.result for pull in groups.pulls] == ["refused", "served"]


def test_pings_within_a_command() -> None:
    """A command that pings twice, as skopeo inspect does, is one pull."""
    more = [
        make_flow(Kind.BASE, Outcome.CHALLENGED, at=1.9, status=401),
        make_flow(Kind.TOKEN, at=2.0),
        make_flow(Kind.TAGS, at=2.1),
    ]
    groups = group_requests(requests_of([*docker_pull(), *more]))
    (pull,) = groups.pulls
    assert kinds(pull.requests).count("base") == 2
    assert not groups.others


def containerd_pull(at: float) -> list[Request]:
    """Return the requests of containerd, which pings nobody."""
    return requests_of(
        [
            make_flow(Kind.MANIFEST, Outcome.CHALLENGED, at=at, status=401),
            make_flow(Kind.TOKEN, at=at + 0.1),
            make_flow(Kind.MANIFEST, at=at + 0.2),
            make_flow(Kind.BLOB, Outcome.CHALLENGED, at=at + 0.4, digest=DIGEST),
            make_flow(Kind.TOKEN, at=at + 0.5),
            make_flow(Kind.BLOB, at=at + 0.6, digest=DIGEST),
        ]
    )


def test_pulls_of_containerd() -> None:
    """Each command of containerd asks for the manifest without a token first."""
    pulls = group_requests([*containerd_pull(0), *containerd_pull(0.8)]).pulls
    assert [len(pull.requests) for pull in pulls] == [6, 6]


@pytest.mark.parametrize(
    ("seconds", "at", "count"), [(0.1, 60, 1), (0.1, 61, 2), (600, 610, 1)]
)
def test_silence(seconds: float, at: float, count: int) -> None:
    """After a minute without a request, or a blob under way, comes another pull."""
    flows = [make_flow(Kind.BLOB, seconds=seconds), make_flow(Kind.BLOB, at=at)]
    assert len(group_requests(requests_of(flows)).pulls) == count


def test_clients_and_aliases() -> None:
    """What another address asks for, or under another alias, is another pull."""
    flows = [
        *docker_pull(),
        *docker_pull(0.05, alias="a/b"),
        *docker_pull(0.07, client="192.0.2.8"),
    ]
    groups = group_requests(requests_of(flows))
    assert {(p.client, p.alias): len(p.requests) for p in groups.pulls} == {
        ("192.0.2.7", ALIAS): 4,
        ("192.0.2.7", "a/b"): 4,
        ("192.0.2.8", ALIAS): 4,
    }
    assert not groups.others


def test_token_for_several_aliases() -> None:
    """A token for two aliases belongs to the pulls of both, and counts once."""
    token = make_flow(Kind.TOKEN, alias=f"{ALIAS}, a/b")
    groups = group_requests(requests_of([token]))
    assert [pull.alias for pull in groups.pulls] == [ALIAS, "a/b"]
    assert len(groups.requests) == 1


def test_login_belongs_to_no_pull() -> None:
    """A login asks for a token for nothing; the pull after it has its own ping."""
    login = [
        make_flow(Kind.BASE, Outcome.CHALLENGED, at=0, status=401),
        make_flow(Kind.TOKEN, at=0.1, alias=""),
        make_flow(Kind.BASE, at=0.2),
    ]
    groups = group_requests(requests_of([*login, *docker_pull(at=1)]))
    assert kinds(list(groups.others)) == ["base", "token", "base"]
    assert [len(pull.requests) for pull in groups.pulls] == [4]


@pytest.mark.parametrize(
    ("ping", "seconds", "agent"),
    [
        ({"outcome": Outcome.FAILED, "status": 502}, 1, "docker/20"),
        ({}, 1, "containerd/1.6"),
        ({}, 9, "docker/20"),
    ],
    ids=["it failed", "it was another's", "it was long ago"],
)
def test_ping_that_belongs_to_no_pull(
    ping: dict[str, Any], seconds: float, agent: str
) -> None:
    """A client gives up after one that fails, and goes on at once after a good one."""
    token = make_flow(Kind.TOKEN, at=seconds)
    token.request.headers["User-Agent"] = agent
    groups = group_requests(requests_of([make_flow(Kind.BASE, **ping), token]))
    assert kinds(list(groups.others)) == ["base"]


def test_own_request_for_nobody() -> None:
    """What the proxy asked for no client, as for its readiness, is not lost."""
    probe = make_flow(OwnKind.PROBE, status=401)
    groups = group_requests(requests_of([probe]))
    assert kinds(list(groups.others)) == ["probe"]
    assert not groups.requests


@pytest.mark.parametrize("login", [Login.NONE, Login.KEY])
def test_registry_without_tokens(login: Login) -> None:
    """Layers belong to their manifest, though address and name alone link them."""
    groups = group_requests(requests_of(open_pull(login=login)))
    (pull,) = groups.pulls
    assert kinds(pull.requests) == ["base", "manifest", *["blob"] * LAYERS]
    assert not groups.others


def test_two_programs_without_tokens() -> None:
    """Programs of other names are told apart."""
    flows = [*open_pull(), *open_pull(0.01, agent="docker/28.5")]
    groups = group_requests(requests_of(flows))
    assert [len(pull.requests) for pull in groups.pulls] == [2 + LAYERS] * 2


def test_programs_that_nothing_tells_apart() -> None:
    """Those of one name and address that pull at once are one pull, with all."""
    flows = [flow for n in range(10) for flow in open_pull(n / 1000)]
    groups = group_requests(requests_of(flows))
    (pull,) = groups.pulls
    assert kinds(pull.requests).count("blob") == 10 * LAYERS


def test_again_without_tokens() -> None:
    """The next command is another pull."""
    groups = group_requests(requests_of([*open_pull(), *open_pull(3)]))
    assert [kinds(pull.requests).count("blob") for pull in groups.pulls] == [LAYERS] * 2


def test_push_is_refused_once() -> None:
    """A push is one card, which says why, and not one for each layer that is absent."""
    groups = group_requests(requests_of(refused_push()))
    (pull,) = groups.pulls
    assert pull.result is Outcome.REFUSED
    assert pull.decisive
    assert pull.decisive.record.message == "'POST' is not possible"
    assert not groups.others


def test_push_after_a_pull() -> None:
    """It is a card of its own, also with the token of the pull, which is good."""
    known: dict[str, Any] = {"session": "s", "login": str(Login.TOKEN)}
    pulled = [
        make_flow(Kind.TOKEN, session="s"),
        make_flow(Kind.BLOB, at=0.2, digest=DIGEST, bytes=9, **known),
    ]
    refused: dict[str, Any] = {"outcome": Outcome.REFUSED, "status": 405, **known}
    pushed = [
        make_flow(Kind.PUSH, at=at, method="POST", **refused) for at in (3, 3.2, 9)
    ]
    groups = group_requests(requests_of([*pulled, *pushed]))
    assert [kinds(pull.requests) for pull in groups.pulls] == [
        ["token", "blob"],
        ["push"] * 3,
    ]
    assert [pull.result for pull in groups.pulls] == ["served", "refused"]
