"""The page: what stands on it, and its making.

Whatever comes out of a flow passes through a template that escapes everything; should
that fail, the page's own policy still lets no script run and nothing be loaded.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mitmproxy import version

from mitm.story.kind import API_KINDS, CONTENT, Outcome, OwnKind
from mitm.story.quantity import describe_size
from mitm.version import VERSION
from report import phrase
from report.decision import decisions
from report.failure import behind, explanation, failures
from report.grouping import Groups
from report.other import Others
from report.recording import Recording
from report.request import BAD_OUTCOMES, Request
from report.timeline import draw

TEMPLATE = "page.html.j2"
"""With the styles of `page.css` in it, and made of what is in `part.html.j2`."""
ROWS_MAX = 100
"""Of requests without a pull: somebody may have tried thousands of paths."""


@dataclass(frozen=True, slots=True)
class Page:
    """A recording as it is shown."""

    recording: Recording
    groups: Groups

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
        return sum(request.record.is_own for request in self.recording.requests)

    @property
    def bad(self) -> Mapping[Outcome, int]:
        """How many pulls are no success, by what came of them."""
        results = Counter(pull.result for pull in self.groups.pulls)
        return {outcome: results[outcome] for outcome in BAD_OUTCOMES}

    @property
    def bytes(self) -> int:
        """How many clients got of manifests and blobs."""
        return sum(each.sent for each in self.requests if each.kind in CONTENT)

    @property
    def begin(self) -> float:
        """When the first request began."""
        return self.recording.requests[0].begin

    @property
    def end(self) -> float:
        """When the last request was over."""
        return max(request.end for request in self.recording.requests)

    def hosts(self, *, of_api: bool) -> Sequence[str]:
        """Return the APIs, or the registries, that requests went to."""
        found = {}
        for request in self.recording.requests:
            is_of_api = request.kind in API_KINDS
            record = request.record
            is_elsewhere = request.kind is OwnKind.SEARCH or bool(
                record.storage or record.cache
            )
            if request.host and (of_api if is_of_api else not (of_api or is_elsewhere)):
                found[request.host] = True
        return list(found)

    @property
    def summary(self) -> str:
        """Return the page in a few words."""
        pulls, requests = len(self.groups.pulls), len(self.requests)
        words = [phrase.count(pulls, "pull"), phrase.count(requests, "request")]
        words.append(f"{sum(self.bad.values())} failed")
        if bad := self.others.bad:
            words.append(f"{len(bad)} failed without a pull")
        return ", ".join(words)


def render(page: Page) -> str:
    """Return the page as HTML."""
    return (
        make_environment()
        .get_template(TEMPLATE)
        .render(page=page, proxy_version=VERSION, mitmproxy_version=version.VERSION)
    )


def make_environment(*folders: Path) -> Environment:
    """Return what renders the templates of these folders, and of this one."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = "{:.2f}%".format
    for function in (behind, decisions, describe_size, draw, explanation, failures):
        environment.globals[function.__name__] = function
    environment.globals |= {"phrase": phrase, "rows_max": ROWS_MAX}
    return environment
