"""Serves balena releases by name: the mitmproxy addon, and all that knows mitmproxy.

Each hook reads a flow, lets `resolver` decide, and writes the decision back.
A request goes upstream only after `request` rewrote it; whatever fails on the way
is answered here, because mitmproxy forwards the untouched request when a hook raises.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from mitmproxy import ctx, exceptions, http, log
from mitmproxy.addonmanager import Loader
from mitmproxy.net.http import http1
from mitmproxy.proxy import mode_specs, server_hooks
from mitmproxy.proxy.layers.http import _http1

from resolver import (
    answer,
    challenge,
    errors,
    forward,
    public_url,
    target,
    token_service,
    transport,
    upstream,
)

logger = logging.getLogger("balena")

METADATA = "balena."
"""The prefix of what is noted in a flow's metadata."""
REDACTED = "[redacted]"
_BYTES = re.compile(r"""\bb(?:'.*'|".*")""", re.DOTALL)
REQUEST_BODY_MAX = 16 << 10
"""Bytes; the one body that is taken is the form of a token request."""
JSON_HEADERS = (("Content-Type", "application/json"), errors.API_VERSION_HEADER)
API_TIMEOUT_MAX = 60
"""Seconds; no client waits nearly as long."""
NO_STORE = (b"Cache-Control", b"no-store")
MARK = ":x:"
"""What mitmproxy's interfaces show beside refused and failed flows."""
BUG = "a bug of the registry proxy; its operator finds the reason in the log"
OPTIONS = (
    "balena_api_url",
    "balena_public_url",
    "balena_trust_forwarded",
    "balena_api_timeout",
)
OPTIONS_OF_MITMPROXY = (
    "mode",
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
)
"""The options beside our own on which the connection to the API depends."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked."""

    registry: mode_specs.ReverseMode
    registry_url: str
    api_url: str | None
    public_url: str | None
    trust_forwarded: bool
    api_timeout: int
    verification: transport.Verification


class TokenResponse(http.Response):
    """Sends a token, and shows none to whatever saves, prints or views flows.

    mitmproxy sends `raw_content`; everything else reads `content` or the state (R15).
    """

    _sent: bytes | None = None

    @property
    def raw_content(self) -> bytes | None:
        """The body as the client gets it."""
        return self._sent

    @raw_content.setter
    def raw_content(self, content: bytes | None) -> None:
        self._sent = content
        self.data.content = REDACTED.encode()

    def get_content(self, strict: bool = True) -> bytes | None:  # noqa: ARG002, FBT001, FBT002 - mitmproxy's
        """Return what may be shown."""
        return self.data.content


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is known of a request that went upstream, until its answer came."""

    target: target.Base | target.Content
    view: answer.View
    warning: str | None


class RegistryProxy:
    """Rewrites the flows between container clients and a balena registry."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._transport: transport.Transport
        self._upstream: upstream.Upstream
        self._tokens: token_service.TokenService
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = (
            WeakKeyDictionary()
        )

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        # urllib3 logs whole request targets, and they have locations in them;
        # mitmproxy logs the bytes of a broken message, and they may be a login.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        logging.getLogger("mitmproxy.proxy.server").addFilter(_without_bytes)
        loader.add_option(
            "balena_api_url",
            str,
            "",
            "URL of the balena API, where releases are looked up and tokens issued."
            " If empty, the registry's own challenge says it.",
        )
        loader.add_option(
            "balena_public_url",
            str,
            "",
            "URL under which clients reach this proxy, the base of the realm that they"
            " are given. If empty, it is what each client used.",
        )
        loader.add_option(
            "balena_trust_forwarded",
            bool,
            False,  # noqa: FBT003 - the signature is mitmproxy's
            "Believe Forwarded and X-Forwarded-* headers about the URL that the client"
            " used. Only for a reverse proxy in front that sets them itself: any"
            " client can write them.",
        )
        loader.add_option(
            "balena_api_timeout",
            int,
            10,
            "Seconds for a whole token request: looking up releases, retries, and the"
            " API's answer. Clients give up after 15.",
        )
        try:
            ctx.options.process_deferred()
        except (exceptions.OptionsError, TypeError) as error:
            # mitmproxy would drop this addon without a word, and forward everything.
            for name in OPTIONS:
                ctx.options.deferred.pop(name, None)
            logger.error("%s", error)  # noqa: TRY400

    def configure(self, updated: set[str]) -> None:
        """Check the options, build what stands on them, then swap it in."""
        if not updated.intersection(OPTIONS + OPTIONS_OF_MITMPROXY):
            return
        try:
            settings = read_settings()
        except exceptions.OptionsError as error:
            if self._settings:
                raise
            # At the start an error in the log ends mitmproxy; without a traceback.
            logger.error("%s", error)  # noqa: TRY400
            return
        if settings == self._settings:
            return
        self.done()
        self._settings = settings
        self._transport = transport.Transport(settings.verification)
        self._upstream = upstream.Upstream(
            settings.registry_url, settings.api_url, self._transport
        )
        self._tokens = token_service.TokenService(
            self._upstream, timeout=settings.api_timeout
        )

    def running(self) -> None:
        """Say in one line what is served where."""
        if not self._settings:
            return
        addresses = ctx.master.addons.get("proxyserver").listen_addrs()
        urls = dict.fromkeys(
            f"http(s)://{_host(*address[:2])}" for address in addresses
        )
        logger.log(
            log.ALERT,
            "releases of the registry %s are served at %s; the API is %s",
            self._settings.registry_url,
            self._settings.public_url or ", ".join(urls),
            self._settings.api_url or "the one that the registry names",
        )

    def done(self) -> None:
        """Let go of threads and connections."""
        if self._settings:
            self._tokens.close()
            self._transport.close()

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Name the registry in the TLS handshake, not what the client called us."""
        if self._settings:
            data.server.sni = self._settings.registry.address[0]

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies that nobody needs, before they are taken into memory."""
        if not _is_open(flow):
            return
        length = flow.request.headers.get("content-length", "0")
        if "transfer-encoding" in flow.request.headers or not (
            length.isdecimal() and int(length) <= REQUEST_BODY_MAX
        ):
            logger.warning(
                "%s with a body of unknown or excessive size: connection closed",
                flow.request.method,
                extra=_client(flow),
            )
            flow.kill()

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the request, or rewrite it for the registry."""
        if not _is_open(flow):
            return
        with self._boundary(flow):
            await self._request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Rewrite the head of the registry's answer, before it may be streamed."""
        exchange = self._exchanges.get(flow)
        if exchange is None or flow.response is None:
            return
        with self._boundary(flow):
            self._rewrite_head(flow.response, exchange)

    def response(self, flow: http.HTTPFlow) -> None:
        """Rewrite what was not streamed, and take the secrets out of the flow."""
        exchange = self._exchanges.pop(flow, None)
        if exchange and flow.response:
            with self._boundary(flow):
                self._rewrite_body(flow, flow.response, exchange)
        _redact(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Take the secrets out of a flow that failed."""
        self._exchanges.pop(flow, None)
        _redact(flow)

    async def _request(self, flow: http.HTTPFlow) -> None:
        settings = self._settings
        assert settings is not None, "configure comes before every flow"  # noqa: S101
        request = flow.request
        forwarded = {name.lower(): value for name, value in request.headers.items()}
        for name in forward.WITHHELD_HEADERS:
            request.headers.pop(name, None)
        path, authority = request.path, request.authority
        request.path = path.partition("?")[0]
        wanted = target.parse_target(request.method, path)
        if isinstance(wanted, target.Ping):
            _answer(flow, 200, b"pong", ("Content-Type", "text/plain"))
            return
        if not request.is_http2 and authority:
            raise errors.RequestInvalid(
                "a request with a whole URL is one to a forward proxy, and this is none"
            )
        url = settings.public_url or public_url.client_url(
            tls=flow.client_conn.tls,
            host=request.host_header,
            headers=forwarded,
            trust_forwarded=settings.trust_forwarded,
        )
        if isinstance(wanted, target.TokenEndpoint):
            await self._answer_token(flow, wanted)
        else:
            await self._forward(flow, wanted, url)

    async def _answer_token(
        self, flow: http.HTTPFlow, wanted: target.TokenEndpoint
    ) -> None:
        headers = flow.request.headers
        if flow.request.method == "POST":
            asked = token_service.parse_token_form(
                headers.get("content-type"), flow.request.get_content() or b""
            )
        else:
            asked = token_service.parse_token_query(
                wanted.query, headers.get("authorization")
            )
        flow.request.path = f"{challenge.TOKEN_PATH}?" + urlencode(
            [("scope", str(scope)) for scope in asked.scopes]
        )
        issued = await self._tokens.answer(asked)
        for found in issued.resolutions:
            logger.info("%s is %s", found.alias, found, extra=_client(flow))
        for refusal in issued.refusals.values():
            logger.warning("refused: %s", refusal.message, extra=_client(flow))
            flow.marked = MARK
        flow.comment = "; ".join(
            [f"{found.alias} is {found}" for found in issued.resolutions]
            + [f"refused: {refusal.message}" for refusal in issued.refusals.values()]
        )
        flow.response = TokenResponse.make(
            200, issued.body, http.Headers([*_fields(JSON_HEADERS), NO_STORE])
        )

    async def _forward(
        self, flow: http.HTTPFlow, wanted: target.Base | target.Content, url: str
    ) -> None:
        request = flow.request
        token_url = url + challenge.TOKEN_PATH
        try:
            decided = forward.forward(wanted, request.headers.get("authorization"))
        except errors.TokenError as error:
            service = await self._tokens.registry_service()
            fresh = forward.challenge_for(error, wanted, token_url, service)
            _fail(flow, error, ("WWW-Authenticate", str(fresh)))
            return
        request.path = decided.path
        request.host_header = self._upstream.host
        request.headers.pop("authorization", None)
        if decided.authorization is not None:
            request.headers["authorization"] = decided.authorization
        alias = None if decided.alias is None else str(decided.alias)
        if alias is not None:
            flow.metadata[METADATA + "alias"] = alias
        view = answer.View(url, token_url, self._upstream.host, alias, decided.location)
        self._exchanges[flow] = Exchange(wanted, view, decided.warning)
        logger.debug("%s goes to the registry", alias, extra=_client(flow))

    def _rewrite_head(self, response: http.Response, exchange: Exchange) -> None:
        view = exchange.view
        # Latin-1 keeps every byte of a header as it is.
        texts = (
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in response.headers.fields
        )
        response.headers = http.Headers(
            [
                (name.encode("latin-1"), view.header(name, value).encode("latin-1"))
                for name, value in texts
            ]
        )
        if exchange.warning:
            response.headers["Warning"] = f'299 - "{exchange.warning}"'
        response.stream = answer.is_streamed(
            exchange.target, response.status_code, response.headers
        )

    def _rewrite_body(
        self, flow: http.HTTPFlow, response: http.Response, exchange: Exchange
    ) -> None:
        if METADATA + "error" in flow.metadata:
            # The body that mitmproxy read meanwhile has replaced that of our error.
            _fail(flow, errors.InternalError(BUG))
            return
        if response.stream or not answer.is_rewritten(
            exchange.target, response.status_code
        ):
            return
        body = response.content
        if body:
            response.content = exchange.view.body(body)

    @contextmanager
    def _boundary(self, flow: http.HTTPFlow) -> Iterator[None]:
        """Turn every error into an answer: the one place where all are caught."""
        try:
            yield
        except errors.RegistryError as error:
            _fail(flow, error)
        except Exception:
            logger.exception("a bug of this proxy", extra=_client(flow))
            _fail(flow, errors.InternalError(BUG))


def read_settings() -> Settings:
    """Return the options, checked.

    Raises:
        OptionsError: one of them has a value that cannot work.

    """
    options = ctx.options
    registry = _read_mode(options.mode)
    unknown = [name for name in options.deferred if name.startswith("balena_")]
    if unknown:
        raise exceptions.OptionsError(
            f"{unknown[0]}: there is no such option; there are {', '.join(OPTIONS)}"
        )
    if not 1 <= options.balena_api_timeout <= API_TIMEOUT_MAX:
        raise exceptions.OptionsError(
            f"balena_api_timeout: {options.balena_api_timeout} is not between 1 and"
            f" {API_TIMEOUT_MAX} seconds"
        )
    url = f"{registry.scheme}://{_host(*registry.address)}"
    return Settings(
        registry=registry,
        registry_url=public_url.parse_url(url),
        api_url=_read_url("balena_api_url", options.balena_api_url),
        public_url=_read_url("balena_public_url", options.balena_public_url),
        trust_forwarded=options.balena_trust_forwarded,
        api_timeout=options.balena_api_timeout,
        verification=transport.Verification(
            enabled=not options.ssl_insecure,
            ca_file=_read_path("ssl_verify_upstream_trusted_ca"),
            ca_folder=_read_path("ssl_verify_upstream_trusted_confdir"),
        ),
    )


def _read_mode(modes: list[str]) -> mode_specs.ReverseMode:
    specs = [mode_specs.ProxyMode.parse(mode) for mode in modes]
    match specs:
        case [mode_specs.ReverseMode(scheme="http" | "https") as registry]:
            return registry
    raise exceptions.OptionsError(
        f"mode: {' '.join(modes)} does not say which registry is fronted; expected one"
        " reverse:https://<registry>[:<port>]@[<listen address>:]<port>"
    )


def _read_url(option: str, text: str) -> str | None:
    try:
        return public_url.parse_url(text) if text else None
    except ValueError as error:
        raise exceptions.OptionsError(f"{option}: {error}") from error


def _read_path(option: str) -> str | None:
    """Return the path of certificates that an option of mitmproxy's names."""
    text = getattr(ctx.options, option)
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.exists():
        raise exceptions.OptionsError(f"{option}: there is no {path}")
    return str(path)


def _is_open(flow: http.HTTPFlow) -> bool:
    """Return whether the flow still waits for somebody to answer it."""
    return flow.live and flow.response is None and flow.error is None


def _answer(
    flow: http.HTTPFlow, status: int, body: bytes, *headers: tuple[str, str]
) -> None:
    """Answer the flow; without a body where HEAD asked, which could not take one."""
    flow.response = http.Response.make(status, body, http.Headers(_fields(headers)))
    if flow.request.method == "HEAD":
        flow.response.raw_content = b""


def _fail(
    flow: http.HTTPFlow, error: errors.RegistryError, *headers: tuple[str, str]
) -> None:
    """Answer the flow with an OCI error, and mark it for whoever looks at flows."""
    body = errors.error_body(error.code, error.message)
    _answer(flow, error.status, body, *JSON_HEADERS, *error.headers, *headers)
    flow.metadata[METADATA + "error"] = str(error.code)
    flow.comment = f"refused: {error.message}"
    # A client without the right token is told so, and comes back: nothing is wrong.
    expected = isinstance(error, errors.TokenError)
    flow.marked = "" if expected else MARK
    logger.log(
        logging.INFO if expected else logging.WARNING,
        "%s %s: %d %s, %s",
        flow.request.method,
        flow.request.path.partition("?")[0],
        error.status,
        error.code,
        error.message,
        extra=_client(flow),
    )


def _redact(flow: http.HTTPFlow) -> None:
    """Take credentials out of a flow that has done its work (rule R15)."""
    if "authorization" in flow.request.headers:
        scheme = flow.request.headers["authorization"].partition(" ")[0]
        flow.request.headers["authorization"] = f"{scheme} {REDACTED}"
    if flow.request.method == "POST":
        flow.request.content = REDACTED.encode()


def _fields(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


def _host(name: str, port: int) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _client(flow: http.HTTPFlow) -> dict[str, object]:
    """Return what makes mitmproxy print the client's address beside a log line."""
    return {"client": flow.client_conn.peername}


def _without_bytes(record: logging.LogRecord) -> bool:
    """Cut what was received out of a log line, and let the line through."""
    record.msg = _BYTES.sub(REDACTED, record.getMessage())
    record.args = ()
    return True


def _error_page(status_code: int, message: str = "") -> bytes:  # noqa: ARG001 - names hosts
    """Return what mitmproxy answers by itself, as an OCI error.

    Its own page is HTML with the reason in it, and the reason names internal
    addresses (rule R13).
    """
    error: errors.RegistryError = errors.RequestInvalid(
        "this is not a sound HTTP request for a registry"
    )
    if status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        error = errors.ServiceUnavailable.with_retry_after(
            "the registry behind this proxy does not answer at the moment; try again"
            " later",
            transport.RETRY_AFTER_DEFAULT,
        )
    headers = [*JSON_HEADERS, *error.headers, ("Connection", "close")]
    body = errors.error_body(error.code, error.message)
    page: bytes = http1.assemble_response(
        http.Response.make(status_code, body, http.Headers(_fields(headers)))
    )
    return page


# mitmproxy has no hook for these answers. Where a later version has another function
# for them, its own pages come back, and a test says so.
_http1.make_error_response = _error_page

addons = [RegistryProxy()]
