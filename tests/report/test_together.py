"""Which requests are whose, where several clients pull the same at once."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitm.story.kind import Kind, Login, Outcome
from report.grouping import Sorting, group_requests
from report.pull import Pull
from report.request import Request
from tests.fuzz.profile import FUZZ
from tests.report.client import CLIENTS, WHOLE, pull_of, times
from tests.report.flow import ALIAS, make_flow, request_of

STEPS = st.integers(11, 400).map(lambda milliseconds: milliseconds / 1000)
"""Between two requests of a client; each takes less."""


type Plan = list[tuple[str, list[float]]]
"""Clients, each with the times at which its requests begin."""


@st.composite
def plans(draw: st.DrawFn, agents: Sequence[str] = tuple(CLIENTS)) -> Plan:
    """Return what some clients do at the same time."""
    chosen = draw(st.lists(st.sampled_from(agents), min_size=1, max_size=6))
    return [
        (agent, list(accumulate(draw(st.tuples(*[STEPS] * len(CLIENTS[agent]))))))
        for agent in chosen
    ]


def crowd_of(plan: Plan) -> list[list[Request]]:
    """Return the requests of each client."""
    return [pull_of(agent, begins) for agent, begins in plan]


def mixed(crowd: Iterable[Sequence[Request]]) -> list[Request]:
    """Return the requests of all in the order of time."""
    return sorted(
        (request for pull in crowd for request in pull), key=lambda each: each.begin
    )


def names(requests: Iterable[Request]) -> set[str]:
    """Return what each request is called."""
    return {each.record.request_id for each in requests}


def as_they_come(requests: Sequence[Request]) -> Sorting:
    """Take requests when they begin, and tell of their ends when these come."""
    sorting = Sorting()
    events = [(each.begin, 1, each) for each in requests]
    events += [(each.end, 0, each) for each in requests]
    for _, is_begin, request in sorted(events, key=lambda event: event[:2]):
        if is_begin:
            begun = replace(request, record=copy.copy(request.record), seconds=0.0)
            begun.record.outcome = begun.record.status = None
            if request.kind is Kind.TOKEN:
                begun.record.session = None
            sorting.take(begun)
        else:
            sorting.take(replace(request))
    return sorting


def members(pulls: Iterable[Pull]) -> list[set[str]]:
    """Return the requests of each pull, in an order that does not depend on it."""
    return sorted((names(pull.requests) for pull in pulls), key=sorted)


@FUZZ
@given(plans(WHOLE))
def test_linked_clients_are_told_apart(plan: Plan) -> None:
    """However their requests are mixed, each client's are a pull, and no others."""
    crowd = crowd_of(plan)
    pulls = group_requests(mixed(crowd)).pulls
    assert members(pulls) == sorted(map(names, crowd), key=sorted)


@FUZZ
@given(plans())
def test_nobody_gets_the_requests_of_another(plan: Plan) -> None:
    """A pull is never of two clients, and each client has one with all its blobs."""
    crowd = crowd_of(plan)
    groups = group_requests(mixed(crowd))
    assert len(groups.pulls) == len(crowd)
    for pull in groups.pulls:
        owners = [each for each in crowd if names(each) & names(pull.requests)]
        assert len(owners) == 1
        blobs = {each for each in owners[0] if each.kind is Kind.BLOB}
        assert names(blobs) <= names(pull.requests)
    assert names(groups.requests) == names(mixed(crowd))
    assert len(groups.requests) == len(mixed(crowd))


@FUZZ
@given(plans())
def test_live_is_as_recorded(plan: Plan) -> None:
    """What is sorted as it comes comes out as it does from a file."""
    requests = mixed(crowd_of(plan))
    sorting = as_they_come(requests)
    assert members(sorting.pulls) == members(group_requests(requests).pulls)


@pytest.mark.parametrize("agent", CLIENTS)
def test_client_alone(agent: str) -> None:
    """Of a client that is alone every request belongs to its pull, linked or not."""
    pull = pull_of(agent, times(agent, 0))
    groups = group_requests(pull)
    assert members(groups.pulls) == [names(pull)]
    assert not groups.others
    assert groups.pulls[0].agent == agent


@pytest.mark.parametrize("agent", CLIENTS)
def test_one_after_the_other(agent: str) -> None:
    """Two commands with a pause between them are two pulls."""
    crowd = [pull_of(agent, times(agent, at)) for at in (0, 3)]
    assert members(group_requests(mixed(crowd)).pulls) == sorted(
        map(names, crowd), key=sorted
    )


@pytest.mark.parametrize("agent", ["docker/28", "oras/1", "skopeo/1"])
def test_what_cannot_be_told_apart(agent: str) -> None:
    """Of two that begin at once nobody knows whose the unlinked request was."""
    crowd = [pull_of(agent, times(agent, at)) for at in (0, 0.001)]
    groups = group_requests(mixed(crowd))
    assert len(groups.pulls) == 2
    assert names(groups.others) == names(each[0] for each in crowd)


@FUZZ
@given(plans(("docker/28", "docker/29")))
def test_both_stores_of_docker(plan: Plan) -> None:
    """One store pings and the other does not, under the same name for itself."""
    crowd = crowd_of(plan)
    requests = mixed(crowd)
    for request in requests:
        request.agent = request.agent.replace("docker/29", "docker/28")
    groups = group_requests(requests)
    assert len(groups.pulls) == len(crowd)
    for pull in groups.pulls:
        assert sum(bool(names(each) & names(pull.requests)) for each in crowd) == 1
    assert members(as_they_come(requests).pulls) == members(groups.pulls)


def test_client_that_never_gets_a_token() -> None:
    """One of two that stops after the challenge is a pull of its own, as the other."""
    crowd = [pull_of("oras/1", times("oras/1", at)) for at in (0, 0.001)]
    pulls = group_requests(mixed([crowd[0], crowd[1][:1]])).pulls
    assert sorted(len(pull.requests) for pull in pulls) == [1, len(crowd[0]) - 1]


def test_token_that_two_were_given() -> None:
    """A token that was issued twice proves nothing."""
    crowd = [pull_of("containers/5", times("containers/5", at)) for at in (0, 0.001)]
    for request in mixed(crowd):
        request.record.session = request.session and "one"
    pulls = as_they_come(mixed(crowd)).pulls
    assert len(pulls) == len(crowd)
    for pull, own in zip(pulls, crowd, strict=True):
        assert names(own[:3]) <= names(pull.requests) <= names(own)


def test_build_with_a_token_that_was_kept() -> None:
    """The next build is another pull, though BuildKit keeps connection and token."""
    first = pull_of("buildkit/v0", times("buildkit/v0", 0))
    again = pull_of("buildkit/v0", times("buildkit/v0", 5))[2:]
    for request in again:
        request.record.session = first[-1].session
        request.record.connection = first[-1].connection
    assert members(group_requests([*first, *again]).pulls) == sorted(
        map(names, (first, again)), key=sorted
    )


def test_blob_without_a_token_goes_to_its_connection() -> None:
    """A blob that is asked for without a token belongs to who asks there later."""
    crowd = [pull_of("oras/1", times("oras/1", at)) for at in (0, 0.001)]
    last = crowd[1][-1]
    early = request_of(
        make_flow(
            Kind.BLOB,
            Outcome.CHALLENGED,
            at=0.055,
            status=401,
            agent="oras/1",
            connection=last.connection,
            digest=last.record.digest,
        )
    )
    pulls = group_requests(mixed([*crowd, [early]])).pulls
    (pull,) = (pull for pull in pulls if names([last]) <= names(pull.requests))
    assert names([early]) <= names(pull.requests)


def test_behind_a_reverse_proxy() -> None:
    """Where its connections are shared, tokens tell clients of one address apart."""
    crowd = [pull_of("docker/28", times("docker/28", at)) for at in (0, 0.001)]
    for request in mixed(crowd):
        request.record.connection, request.record.forwarded_for = None, "192.0.2.7"
    groups = group_requests(mixed(crowd))
    assert members(groups.pulls) == sorted((names(e[1:]) for e in crowd), key=sorted)


def test_registry_without_tokens() -> None:
    """Where nobody has a token, one client that is alone is still one pull."""
    pull = list(pull_of("docker/28", times("docker/28", 0)))
    del pull[1]
    for request in pull:
        request.record.session, request.record.login = None, Login.NONE
        request.record.outcome = Outcome.SERVED
    assert members(group_requests(pull).pulls) == [names(pull)]


def test_forgetting() -> None:
    """Of a pull that is forgotten nothing is kept, and others stay as they are."""
    sorting = Sorting()
    old, new = (pull_of("docker/28", times("docker/28", at)) for at in (0, 100))
    for request in mixed([old, new]):
        sorting.take(request)
    sorting.forget(sorting.pulls[0])
    assert members(sorting.pulls) == [names(new)]
    sorting.forget(sorting.pulls[0])
    sorting.forget_others(0)
    assert not any(value for name, value in vars(sorting).items() if name != "_parties")
    assert not any(vars(vars(sorting)["_parties"]).values())


@pytest.mark.parametrize("agent", CLIENTS)
def test_pull_by_a_tag(agent: str) -> None:
    """A token for the name with the tag in it belongs to the pull of what has it."""
    pull = pull_of(agent, times(agent, 0))
    for request in pull:
        if request.kind is Kind.TOKEN:
            request.record.alias = f"{ALIAS}/tag"
    groups = group_requests(pull)
    assert members(groups.pulls) == [names(pull)]
    assert not groups.others
