"""What was seen of a request that did not go well."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cause.certificate import Certificate
from cause.finding import Role
from resolver.symptom import Symptom


@dataclass(frozen=True, slots=True)
class Evidence:
    """A request and its answer, or the lack of one, as the proxy saw them.

    Headers are by their names in lower case; logins are not among them.
    """

    role: Role | None
    """Who answered, or should have; None where the proxy itself did."""
    host: str = ""
    """Of whoever that is, with the port unless it is the usual one."""
    kind: str = ""
    """What was asked for: a `mitm.story.kind.Kind`."""
    name: str = ""
    """The alias or repository."""
    method: str = "GET"
    request: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The headers of the request."""
    status: int | None = None
    """The answer's; None where there is none."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    """The beginning of an error's body."""
    failure: str = ""
    """Why there is no answer, or none to its end, in the words of whoever saw it."""
    is_client_gone: bool = False
    seconds: float | None = None
    """From the request's head to the end."""
    claims: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Of the token that was sent, if it is a JWT."""
    pullable: Collection[str] | None = None
    """Repositories that it may pull from; None where it is no JWT."""
    login: str = ""
    """How the client logged in: a `mitm.story.kind.Login`."""
    code: str = ""
    """The code of the error that the client was told."""
    message: str = ""
    """Its words."""
    now: float = 0.0
    """This machine's clock, in seconds since the epoch."""
    symptom: Symptom | None = None
    """How the connection or the answer failed, where it did."""
    words: str = ""
    """Of a library about that: why a certificate does not verify, what a proxy says."""
    certificate: Certificate | None = None
    """The one that did not verify, if it was seen."""
    proxy: str = ""
    """The forward proxy that the server is asked through, in words."""
    patience: float | None = None
    """Seconds that the server may be silent."""
    has_begun: bool = False
    """Whether an answer began."""
    is_endless: bool = False
    """Whether nothing but the end of the connection is the end of the answer."""
    is_unreadable: bool = False
    """Whether the answer is not packed as it says."""
    least_rate: str = ""
    """That of which the client took less, and was let go for that; in words."""
    digest: str = ""
    """What the manifest has to be: as it was asked for, or else as the answer says."""
    body_digest: str = ""
    """What it is."""
    led_to: str = ""
    """The host that the client was sent to for the blob."""
    is_back: bool = False
    """Whether it was sent there before, with the same token."""
    realm: str = ""
    """Where the client was told to get a token, as every client is at first."""
    is_like_key: bool | None = None
    """Whether the password is what balena issues; None where none was sent."""
    path: str = ""
    """What was asked for, without the query."""
    reference: str = ""
    """The tag or digest that was asked for."""
    location: str = ""
    """Where the image is stored; no sentence shows more than its beginning."""
    namespace: str = ""
    """The registry that containerd wants: ``ns`` of the query."""
    client_scheme: str = ""
    """By which the client came, as headers say that are not trusted."""
    token_length: int = 0
    """Characters of the token that the registry was sent, without its scheme."""
    registry: str = ""
    """Host of the registry that is fronted."""
    api: str = ""
    """Host of the API."""
    has_own_names: bool = False
    """Whether names are the registry's own, of which no API knows."""
    clocks: Mapping[Role, float] = field(default_factory=dict)
    """Seconds that a server's clock is ahead of this machine's, as far as is known."""

    @property
    def the_api(self) -> str:
        """The API, with its host where anybody has named it yet."""
        return f"the API {self.api}".rstrip()
