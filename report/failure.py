"""Decides how what went wrong is told: once for all requests that it happened to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mitm.story.fact import Fact
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
            " ".join(filter(None, (phrase.what(one), str(one.status or ""))))
            for one in self.requests
        ]
        return [
            word if (times := words.count(word)) == 1 else f"{word} ({times} times)"
            for word in dict.fromkeys(words)
        ]

    @property
    def explanation(self) -> Sequence[str]:
        """What is to be said of the first of them beside the message."""
        return explanation(self.requests[0])

    @property
    def behind(self) -> Sequence[str]:
        """What the proxy asked in vain for the first of them."""
        return behind(self.requests[0])


def failures(requests: Iterable[Request]) -> Sequence[Failure]:
    """Return what went wrong in requests.

    What the proxy asked in vain stands behind that, or by itself where it did no harm.
    """
    found: dict[tuple[str, str], Failure] = {}
    for request in requests:
        for one in (request,) if request.is_bad else request.made:
            if one.is_bad:
                code, message = one.say(Fact.CODE), phrase.why(one)
                known = found.setdefault((code, message), Failure(code, message))
                known.requests.append(one)
    return list(found.values())


def explanation(request: Request) -> Sequence[str]:
    """Return the sentences that say more than why it is no success."""
    told = request.say(Fact.MESSAGE) or request.say(Fact.FAILURE)
    return [said for said in request.explanation if not told or told not in said]


def behind(request: Request) -> Sequence[str]:
    """Return what the proxy asked in vain before it could not answer."""
    return [one.comment for one in request.made if one.is_bad and one.comment]
