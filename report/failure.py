"""What went wrong, told once for all requests that it happened to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from report import phrase
from report.request import Request


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong, for one request or more."""

    code: str
    message: str
    requests: list[Request] = field(default_factory=list)

    @property
    def subjects(self) -> Sequence[str]:
        """What was asked for, with the answer's status, and how often."""
        words = [
            " ".join(filter(None, (phrase.what(each), str(each.status or ""))))
            for each in self.requests
        ]
        return [
            word if (times := words.count(word)) == 1 else f"{word} ({times} times)"
            for word in dict.fromkeys(words)
        ]


def failures(requests: Iterable[Request]) -> Sequence[Failure]:
    """Return what went wrong in requests.

    What the proxy asked in vain stands behind that, or by itself where it did no harm.
    """
    found: dict[tuple[str, str], Failure] = {}
    for request in requests:
        for each in (request,) if request.is_bad else request.own:
            if each.is_bad:
                key = each.record.code or "", phrase.why(each)
                found.setdefault(key, Failure(*key)).requests.append(each)
    return list(found.values())


def explanation(request: Request) -> Sequence[str]:
    """Return the sentences that say more than why it is no success, and what to do."""
    record = request.record
    said = (record.finding or record.message or record.failure, record.advice)
    told = [each for each in said if each]
    return [s for s in request.explanation if not any(each in s for each in told)]


def behind(request: Request) -> Sequence[str]:
    """Return what the proxy asked in vain before it could not answer."""
    return [each.comment for each in request.own if each.is_bad and each.comment]
