"""The view of a request: its story, and all that is known of it.

mitmproxy's interfaces show no metadata, so it is shown here, in place of the body that
requests to a registry do not have.
"""

from collections.abc import Callable
from urllib.parse import parse_qsl

from mitmproxy import http

from mitm.redaction import REDACTED
from mitm.story.explain import explain
from mitm.story.quantity import exact_size
from mitm.story.record import SEPARATOR, Record
from mitm.view.body import Body, View
from mitm.view.claims import describe_token
from mitm.view.line import fields, paragraph, section, shown

_FACTS = (
    *("request_id", "kind", "outcome", "path", "login", "alias"),
    *("selector", "release", "revision", "commit", "location", "storage", "cache"),
    *("reason", "refused", "tagged", "digest", "code", "message", "warning", "failure"),
    *("fault", "finding", "advice", "session"),
    *("bytes", "seconds", "api_seconds", "registry_seconds"),
)
_FACTS_OF_ALIASES = (
    *("selector", "release", "revision", "commit", "location", "cache", "reason"),
)
_FORM_TYPE = "application/x-www-form-urlencoded"
_PARAMETERS_MAX = 256
_SHOWN_PARAMETERS = frozenset(
    {
        *("scope", "service", "client_id", "grant_type", "access_type"),
        *("n", "last", "artifactType"),
        *("$select", "$filter", "$expand", "$orderby", "$top"),
    }
)
_NAMED_PARAMETERS = frozenset(
    {"account", "apikey", "password", "refresh_token", "username"}
)
"""Without their values. Of any other the name may be a key as well."""


def link_nothing(_: str) -> str:
    """Return no address, where no page shows the pull of a flow."""
    return ""


class RequestView(View):
    """The request, and what became of it."""

    name = "registry request"

    def __init__(self) -> None:
        self.link_pull: Callable[[str], str] = link_nothing
        """Returns where the pull of the flow with an id is shown, if anywhere."""

    def fits(self, body: Body) -> bool:
        """Return whether this is a request with a record."""
        return isinstance(body.message, http.Request)

    def describe(self, body: Body) -> list[str]:
        """Return the story, the facts, what was asked for, and the token's claims."""
        flow, record = body.flow, body.record
        if flow is None or record is None:
            raise ValueError("nothing is known of it")
        story = [line for text in explain(flow) for line in paragraph(shown(text))]
        lines = [
            *story,
            *section("known", fields([*self._pull(flow.id), *_facts(record)])),
            *section("asked for", _parameters(flow.request.path.partition("?")[2])),
            *_token(flow.request.headers.get("authorization", "")),
            *_body(body),
        ]
        return lines if story else lines[1:]

    def _pull(self, flow_id: str) -> list[tuple[str, str]]:
        url = self.link_pull(flow_id)
        return [("pull", url)] if url else []


def _facts(record: Record) -> list[tuple[str, str]]:
    """Return what is known, by name; of several aliases in the order of these."""
    facts = record.as_dict()
    found = [each for each in record.aliases if not each.is_refused]
    for name in _FACTS_OF_ALIASES:
        values = [str(getattr(each, name) or "") for each in found]
        if any(values):
            facts[name] = SEPARATOR.join(values)
    if record.refused:
        facts["refused"] = SEPARATOR.join(each.alias for each in record.refused)
    if record.tagged:
        counts = [f"{each.tagged} of {each.alias}" for each in record.tagged]
        facts["tagged"] = SEPARATOR.join(counts)
    return [(name, _fact(name, facts[name])) for name in _FACTS if name in facts]


def _fact(name: str, value: object) -> str:
    if name == "bytes" and isinstance(value, int):
        return exact_size(value)
    return f"{value:.3f} s" if isinstance(value, int | float) else shown(value)


def _token(authorization: str) -> list[str]:
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        return []
    return section("with the token", describe_token(text.strip()))


def _body(body: Body) -> list[str]:
    """Return the form, or how much there is of anything else."""
    if not body.data or not isinstance(body.message, http.Request):
        return []
    if body.media_type == _FORM_TYPE and body.data != REDACTED.encode():
        return section("form", _parameters(body.data.decode(errors="replace")))
    media_type = shown(body.media_type or "no type")
    return section("body", [f"  {exact_size(len(body.data))}, {media_type}"])


def _parameters(text: str) -> list[str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return [f"  more than {_PARAMETERS_MAX} parameters"]
    parameters = [
        (name, REDACTED if name in _NAMED_PARAMETERS else shown(_spaced(name, value)))
        for name, value in pairs
        if name in _NAMED_PARAMETERS | _SHOWN_PARAMETERS
    ]
    more = len(pairs) - len(parameters)
    lines = fields(parameters)
    return [*lines, f"  and {more} that are not shown"] if more else lines


def _spaced(name: str, value: str) -> str:
    """Return the value with places where its line can be broken."""
    if not name.startswith("$"):
        return value
    return value.replace(",", ", ").replace(";", "; ")
