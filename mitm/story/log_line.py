"""The log of requests: one line for each that is over, and the same by name.

A line reads like ``GET manifest latest of org/app/2.3: 200, release 2.3.8+rev2, 527
bytes in 0.021 s [3f2a9c1b]``. It has no key and no token in it, and of a location the
beginning only (rule R15).
"""

import logging
from typing import Any

from mitm import reply
from mitm.story.kind import Kind, Mover, Outcome
from mitm.story.record import Record
from mitm.story.words import (
    BLOBS,
    MOVERS,
    begin_of_location,
    describe_release,
    no_answer,
    server,
)
from resolver.grammar.reference import brief_location

logger = logging.getLogger("balena.request")

RECORD = "request"
"""The attribute of a log record that has the request's own."""
_LEVELS = {
    Outcome.SERVED: logging.INFO,
    Outcome.CHALLENGED: logging.DEBUG,
    Outcome.ABORTED: logging.INFO,
}
_OF_OTHERS = (Outcome.FAILED, Outcome.LIMITED)
"""What registry and storage are to blame for, so that they are named."""
_QUIET = (Kind.PING, Kind.READY)
"""Health checks come every few seconds, for ever."""


def write(record: Record) -> None:
    """Log the line of a request that is over."""
    level = _level(record)
    if logger.isEnabledFor(level):
        extra = {"client": record.client, RECORD: record}
        logger.log(level, "%s", describe(record), extra=extra)


def write_finding(record: Record) -> None:
    """Log what was found of a request after its line was written."""
    extra = {"client": record.client, RECORD: record}
    request_id = reply.brief_id(record.request_id)
    logger.warning("%s [%s]", record.diagnosis, request_id, extra=extra)


def describe(record: Record) -> str:
    """Return the line."""
    parts = [_result(record)]
    is_token = record.kind is Kind.TOKEN
    if record.release and not is_token:
        parts.append(f"release {record.release}")
    if record.storage and record.outcome not in _OF_OTHERS:
        parts.append("from the storage")
    if record.cache and record.outcome not in _OF_OTHERS:
        parts.append(BLOBS[record.cache].brief)
    if record.warning:
        parts.append(record.warning)
    has_size = record.bytes and record.location and not is_token
    size = f"{record.bytes} bytes " if has_size else ""
    parts.append(f"{size}in {record.seconds:.3f} s")
    result, request_id = ", ".join(parts), reply.brief_id(record.request_id)
    found = f": {record.diagnosis}" if record.diagnosis else ""
    return f"{record.method} {record.subject}: {result}{found} [{request_id}]"


def facts(record: Record) -> dict[str, Any]:
    """Return what machines are told, without what is not known."""
    values: dict[str, Any] = {
        "request_id": record.request_id,
        "event": record.kind,
        "outcome": record.outcome,
        "method": record.method or None,
        "status": record.status,
        "code": record.error and record.error.code,
        "cause": (record.error and record.error.explanation) or None,
        "fault": record.fault,
        "finding": record.finding,
        "advice": record.advice,
        "alias": record.alias,
        "tag": None if record.digest else record.reference or None,
        "digest": record.digest,
        "release": record.release,
        "location": brief_location(record.location),
        "storage": record.storage,
        "cache": record.cache,
        "mover": record.mover,
        "aliases": _aliases(record) or None,
        "bytes": record.bytes,
        "duration": round(record.seconds or 0.0, 3),
        "login": record.login,
        "agent": record.agent or None,
        "connection": record.connection,
        "session": record.session,
        "error": record.message,
    }
    return {name: value for name, value in values.items() if value is not None}


def _aliases(record: Record) -> list[dict[str, Any]]:
    """Return what the aliases of a token request came to."""
    if record.kind is not Kind.TOKEN:
        return []
    found: list[dict[str, Any]] = [
        {
            "alias": each.alias,
            "release": each.release,
            "commit": each.commit,
            "location": brief_location(each.location),
            "cache": each.cache,
        }
        for each in record.found
    ]
    refused = [
        {"alias": each.alias, "code": each.code, "message": each.message}
        for each in record.refused
    ]
    return [*found, *refused]


def _result(record: Record) -> str:
    """Say how it ended; what was found takes the place of what is seen alone."""
    if record.diagnosis:
        return _end(record)
    if error := record.error:
        return f"{record.status} {error.code}, {error.in_log}"
    if record.failure:
        return no_answer(record)
    if record.mover and record.outcome is Outcome.SERVED:
        return MOVERS[record.mover]  # Which status that has nobody knows here.
    outcomes = _outcomes(record) if record.kind is Kind.TOKEN else ""
    if record.is_forwarded and record.outcome in _OF_OTHERS:
        return f"{record.status} from the {server(record)}"
    return outcomes or str(record.status)


def _end(record: Record) -> str:
    """Say how a request ended of which it is known what is wrong."""
    if error := record.error:
        return f"{record.status} {error.code}, {error.message}"
    if record.outcome is Outcome.ABORTED:
        return "the client went away"
    if record.failure:
        return "not answered" if record.status is None else "not answered to the end"
    return (_outcomes(record) if record.kind is Kind.TOKEN else "") or str(
        record.status
    )


def _outcomes(record: Record) -> str:
    """Say what the aliases of a token request came to."""
    parts = []
    for each in record.aliases:
        if each.release:
            tags = f", {each.tagged} to select by tag" if each.tagged else ""
            parts.append(
                f"{each.alias} is {describe_release(each)} -> {begin_of_location(each)}"
                f"...{tags}, cache {each.cache or 'unknown'}"
            )
        elif each.is_refused:
            parts.append(f"refused: {each.message}")
        else:
            parts.append(f"{each.alias} has no target, {each.tagged} to select by tag")
    return "; ".join(parts)


def _level(record: Record) -> int:
    if record.finding:
        return logging.WARNING
    if record.kind in _QUIET or (record.failure and not record.is_forwarded):
        return logging.DEBUG
    if record.warning or record.refused:
        return logging.WARNING
    if record.is_optional:
        return logging.INFO
    if record.mover is Mover.NGINX_FETCH and record.outcome is Outcome.SERVED:
        return logging.DEBUG  # One for each slice.
    return _LEVELS.get(record.outcome or Outcome.FAILED, logging.WARNING)
