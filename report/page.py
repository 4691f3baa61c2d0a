"""Decides what stands where on the page, and makes it.

Whatever comes out of a flow passes through a template that escapes everything; should
that fail, the page's own policy still lets no script run and nothing be loaded.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mitmproxy import version

from mitm.story.fact import Fact, OwnKind
from mitm.story.size import describe_size
from mitm.version import VERSION
from report import phrase
from report.decision import Decision, decisions
from report.failure import Failure, behind, explanation, failures
from report.grouping import Groups
from report.other import Others
from report.pull import CONTENT, Pull, Result
from report.recording import Recording
from report.request import Request
from report.timeline import Timeline, draw

TEMPLATE = "page.html.j2"
"""With the styles of `page.css` in it, and made of what is in `part.html.j2`."""
COMMIT_LENGTH = 7
ROWS_MAX = 100
"""Of requests without a pull: somebody may have tried thousands of paths."""
_API_KINDS = (OwnKind.RESOLUTION, OwnKind.GRANT)


@dataclass(frozen=True, slots=True)
class Section:
    """A pull as it is shown."""

    number: int
    pull: Pull

    @property
    def id(self) -> str:
        """What links name."""
        return f"pull-{self.number}"

    @property
    def release(self) -> str:
        """The release that the alias stood for, with its commit."""
        release, commit = self.pull.fact(Fact.RELEASE), self.pull.fact(Fact.COMMIT)
        return (
            f"{release} ({commit[:COMMIT_LENGTH]})" if release and commit else release
        )

    @property
    def explanation(self) -> Sequence[str]:
        """Why it is no success, and what would help."""
        return explanation(decisive) if (decisive := self.pull.decisive) else ()

    @property
    def behind(self) -> Sequence[str]:
        """What the proxy asked in vain before it could not answer."""
        return behind(decisive) if (decisive := self.pull.decisive) else ()

    @property
    def timeline(self) -> Timeline:
        """Its requests over time."""
        return draw(self.pull)

    @property
    def decisions(self) -> Sequence[Decision]:
        """What the proxy found and decided."""
        return decisions(self.pull)

    @property
    def failures(self) -> Sequence[Failure]:
        """What went wrong on the way, also where it went well in the end."""
        return failures(self.pull.requests)


@dataclass(frozen=True, slots=True)
class Page:
    """A recording as it is shown."""

    recording: Recording
    groups: Groups

    @property
    def sections(self) -> Sequence[Section]:
        """The pulls in the order of time."""
        return [Section(n, pull) for n, pull in enumerate(self.groups.pulls, 1)]

    @property
    def others(self) -> Others:
        """The requests that belong to no pull."""
        return Others(self.groups.others)

    @property
    def requests(self) -> Sequence[Request]:
        """Those of clients, each once."""
        return self.groups.requests

    @property
    def own(self) -> int:
        """How many requests the proxy made by itself."""
        return sum(request.is_own for request in self.recording.requests)

    @property
    def bad(self) -> Mapping[Result, int]:
        """How many pulls are no success, by what came of them."""
        results = Counter(pull.result for pull in self.groups.pulls)
        return {result: results[result] for result in Result if result.is_bad}

    @property
    def bytes(self) -> int:
        """How many clients got of manifests and blobs."""
        return sum(one.sent for one in self.requests if one.kind in CONTENT)

    @property
    def begin(self) -> float:
        """When the first request began."""
        return self.recording.requests[0].begin

    @property
    def end(self) -> float:
        """When the last request was over."""
        return max(request.end for request in self.recording.requests)

    @property
    def registries(self) -> Sequence[str]:
        """The registries that requests went to."""
        elsewhere = (*_API_KINDS, OwnKind.SEARCH)
        return _hosts(
            r
            for r in self.recording.requests
            if r.kind not in elsewhere and not r.say(Fact.STORAGE)
        )

    @property
    def apis(self) -> Sequence[str]:
        """The APIs that the proxy asked."""
        return _hosts(r for r in self.recording.requests if r.kind in _API_KINDS)

    @property
    def summary(self) -> str:
        """Return the page in a few words."""
        pulls, requests = len(self.sections), len(self.requests)
        words = [phrase.count(pulls, "pull"), phrase.count(requests, "request")]
        words.append(f"{sum(self.bad.values())} failed")
        if bad := self.others.bad:
            words.append(f"{len(bad)} failed without a pull")
        return ", ".join(words)


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = "{:.2f}%".format
    return environment.get_template(TEMPLATE).render(
        page=page,
        phrase=phrase,
        describe_size=describe_size,
        Fact=Fact,
        rows_max=ROWS_MAX,
        proxy_version=VERSION,
        mitmproxy_version=version.VERSION,
    )


def _hosts(requests: Iterable[Request]) -> Sequence[str]:
    return list(dict.fromkeys(request.host for request in requests if request.host))
