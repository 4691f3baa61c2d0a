"""What begins a pull, and what a request may go on with, by what was seen before."""

from http import HTTPStatus

from mitm.story.kind import Kind, Login, Outcome
from report.party import may_ask_for_token
from report.pull import Pull
from report.request import Request

SILENCE_SECONDS = 60.0
"""Without a request, after which the next one is another pull."""
PAUSE_SECONDS = 0.5
"""Between the requests of one command, at most."""
BASE_SECONDS = 5.0
"""Between the first request of a command and the next, at most."""
BEGINNINGS = (Kind.TOKEN, Kind.MANIFEST)
"""What a pull may begin with, beside a ``GET /v2/``."""
_TOLD_TO_LOG_IN = (Outcome.CHALLENGED, Outcome.UNAUTHORIZED)


def begins(request: Request, last: Pull, base: Request | None) -> bool:
    """Return whether the request begins another pull than the last one."""
    if is_silent(last, request.begin):
        return True
    if request.kind not in BEGINNINGS:
        return request.kind is Kind.PUSH and _is_given(last, request.begin)
    if base and base.begin > last.requests[-1].begin:
        return last.is_bad or last.silence(base.begin) > PAUSE_SECONDS
    if not is_first(request):
        return False
    is_late = last.silence(request.begin) > PAUSE_SECONDS
    is_new = last.token is not None or (last.is_bad and is_late)
    if request.record.login is Login.NONE and is_new:
        return True
    return is_late and any(_is_answer_to(request, each) for each in last.requests)


def is_first(request: Request) -> bool:
    """Return whether it is for what a pull begins with, which nothing led to."""
    return request.kind is Kind.MANIFEST and not request.record.digest


def is_silent(pull: Pull, at: float) -> bool:
    """Return whether nothing has happened in it for long, and nothing is under way."""
    return pull.silence(at) > SILENCE_SECONDS


def _is_given(pull: Pull, at: float) -> bool:
    """Return whether it is a pull that was given something, and is over."""
    is_over = pull.silence(at) > PAUSE_SECONDS and pull.bytes > 0
    return is_over and not has(pull, Kind.PUSH)


def _is_answer_to(request: Request, before: Request) -> bool:
    """Return whether the same was asked for before, and given."""
    return (
        before.kind is request.kind
        and before.record.path == request.record.path
        and before.record.outcome is Outcome.SERVED
    )


def is_traced(request: Request) -> bool:
    """Return whether its connection is known, or whom a reverse proxy has it from.

    Old recordings know neither.
    """
    return bool(request.connection or request.record.forwarded_for)


def may_ask(request: Request, pull: Pull) -> bool:
    """Return whether the request may come from the program that pulls."""
    is_token = request.kind is Kind.TOKEN
    for each in pull.requests:
        if each.kind is Kind.TOKEN and not is_token:
            may = may_ask_for_token(each.agent, request.agent)
        elif is_token and each.kind is not Kind.TOKEN:
            may = may_ask_for_token(request.agent, each.agent)
        else:
            may = each.agent == request.agent or not (each.agent and request.agent)
        if each.kind is not Kind.BASE and may:
            return True
    return False


def may_follow(request: Request, base: Request) -> bool:
    """Return whether the request may be the next after a ``GET /v2/``.

    None comes after one that failed or is not over, and after a challenge the client
    gets a token.
    """
    if not base.is_over or base.end > request.begin:
        return False
    if base.record.outcome is Outcome.CHALLENGED:
        return request.kind is Kind.TOKEN or request.record.login is not Login.NONE
    return not base.is_bad


def has(pull: Pull, kind: Kind) -> bool:
    """Return whether such a thing was asked for."""
    return any(each.kind is kind for each in pull.requests)


def waits_for_token(pull: Pull, at: float) -> bool:
    """Return whether the client was told to get a token just now, and has not yet."""
    told = None
    for each in pull.requests:
        if each.kind is Kind.TOKEN:
            told = None
        elif each.end <= at and each.record.outcome in _TOLD_TO_LOG_IN:
            told = each
    return told is not None and at - told.end <= BASE_SECONDS


def is_beginning(pull: Pull, at: float) -> bool:
    """Return whether it is one that has to go on at once."""
    return waits_for_token(pull, at) or is_found(pull, at)


def is_found(pull: Pull, at: float) -> bool:
    """Return whether it knows the digest just now, and nothing of what that has."""
    return (
        any(
            each.kind is Kind.MANIFEST
            and each.status == HTTPStatus.OK
            and each.end <= at
            for each in pull.requests
        )
        and not any(each.record.digest for each in pull.requests)
        and pull.silence(at) <= BASE_SECONDS
    )
