"""Decides what the log says of a request that is over: one line, and its facts.

A line reads like ``GET manifest latest of org/app/2.3: 200, release 2.3.8+rev2, 527
bytes in 0.021 s [3f2a9c1b]``. It has no key and no token in it, and of a location the
beginning only (rule R15).
"""

import logging

from mitm.story.record import Kind, Outcome, Record, brief_location
from resolver.release.resolution import Resolution

logger = logging.getLogger("balena.request")

FACTS = "facts"
"""The attribute of a log record that has the facts by name."""
ID_LENGTH = 8
"""How much of a request's id a person is shown."""
_LEVELS = {
    Outcome.SERVED: logging.INFO,
    Outcome.CHALLENGED: logging.DEBUG,
    Outcome.ABORTED: logging.INFO,
}
_QUIET = (Kind.PING, Kind.READY)
"""Health checks come every few seconds, for ever."""


def write(record: Record) -> None:
    """Log the line of a request that is over."""
    level = _level(record)
    if logger.isEnabledFor(level):
        extra = {"client": record.client, FACTS: facts(record)}
        logger.log(level, "%s", describe(record), extra=extra)


def describe(record: Record) -> str:
    """Return the line."""
    parts = [_result(record)]
    if record.release and record.kind is not Kind.TOKEN:
        parts.append(f"release {record.release.version}")
    if record.storage:
        parts.append("from the storage")
    if record.warning:
        parts.append(record.warning)
    has_size = record.size and record.location and record.kind is not Kind.TOKEN
    size = f"{record.size} bytes " if has_size else ""
    parts.append(f"{size}in {record.seconds:.3f} s")
    shown = ", ".join(parts)
    return (
        f"{record.method} {record.subject}: {shown} [{record.request_id[:ID_LENGTH]}]"
    )


def facts(record: Record) -> dict[str, object]:
    """Return what machines are told, without what is not known."""
    known: dict[str, object | None] = {
        "request_id": record.request_id,
        "event": record.kind,
        "outcome": record.outcome,
        "method": record.method,
        "status": record.status,
        "code": record.error and record.error.code,
        "alias": record.alias,
        "digest": record.digest,
        "release": record.release and record.release.version,
        "location": brief_location(record.location),
        "storage": record.storage,
        "aliases": _aliases(record) or None,
        "bytes": record.size,
        "duration": round(record.seconds, 3),
    }
    return {name: value for name, value in known.items() if value is not None}


def _aliases(record: Record) -> list[dict[str, object]]:
    """Return what the aliases of a token request came to."""
    found: list[dict[str, object]] = [
        {
            "alias": str(one.alias),
            "release": one.release.raw_version,
            "commit": one.release.commit,
            "location": brief_location(one.location),
            "cache": record.states[str(one.alias)],
        }
        for one in record.resolutions
    ]
    refused: list[dict[str, object]] = [
        {"alias": name, "code": refusal.code, "message": refusal.message}
        for name, refusal in record.refusals.items()
    ]
    return [*found, *refused]


def _result(record: Record) -> str:
    if record.error:
        return f"{record.status} {record.error.code}, {record.error.message}"
    if record.failure and record.outcome is Outcome.ABORTED:
        return f"the client went away, {record.failure}"
    if record.failure:
        silent = "storage" if record.storage else "registry"
        return f"not answered by the {silent}, {record.failure}"
    return "; ".join(_outcomes(record)) or str(record.status)


def _outcomes(record: Record) -> list[str]:
    found = [_found(record, one) for one in record.resolutions]
    resolved = {str(one.alias) for one in record.resolutions}
    return [
        *found,
        *(
            f"{alias} has no target, {count} to select by tag"
            for alias, count in record.tagged.items()
            if alias not in resolved
        ),
        *(f"refused: {refusal.message}" for refusal in record.refusals.values()),
    ]


def _found(record: Record, resolution: Resolution) -> str:
    state = record.states.get(str(resolution.alias), "unknown")
    count = record.tagged.get(str(resolution.alias))
    by_tag = f", {count} to select by tag" if count else ""
    return f"{resolution.alias} is {resolution}{by_tag}, cache {state}"


def _level(record: Record) -> int:
    if record.kind in _QUIET or (record.failure and not record.is_forwarded):
        return logging.DEBUG
    if record.refusals or record.warning:
        return logging.WARNING
    return _LEVELS.get(record.outcome, logging.WARNING)
