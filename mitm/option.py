"""Decides which options are sound: the addon's own, and mitmproxy's that it needs."""

import ipaddress
import logging
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs

from mitm.certificate import CertificateError, OwnCertificate
from mitm.connection import Limits
from mitm.log_format import LogFormat
from resolver import public_url, transport
from resolver.address import Allowed, parse_allowed

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)


class Blobs(StrEnum):
    """What becomes of a blob that the registry redirects to a storage."""

    REDIRECT = "redirect"
    FOLLOW = "follow"


class Tags(StrEnum):
    """What tags do."""

    IGNORE = "ignore"
    SELECT = "select"


@dataclass(frozen=True, slots=True)
class Option:
    """One of the addon's own options; its default says of which type it is."""

    name: str
    default: str | bool | int
    help: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()


_OPTIONS = (
    Option(
        "balena_api_url",
        "",
        "URL of the balena API, where releases are looked up and tokens issued."
        " If empty, the registry's own challenge says it.",
    ),
    Option(
        "balena_public_url",
        "",
        "URL under which clients reach this proxy, the base of the realm that they"
        " are given. If empty, it is what each client used.",
    ),
    Option(
        "balena_trust_forwarded",
        default=False,
        help="Believe Forwarded and X-Forwarded-* headers about the URL that the"
        " client used. Only for a reverse proxy in front that sets them itself: any"
        " client can write them.",
    ),
    Option(
        "balena_cache_ttl",
        300,
        "Seconds for which it is remembered what an alias stands for, for each"
        " credential. 0 asks the API each time. Permission is never remembered.",
        most=86400,
    ),
    Option(
        "balena_api_timeout",
        10,
        "Seconds for a whole token request: looking up releases, retries, and the"
        " API's answer. Clients give up after 15.",
        least=1,
        most=60,
    ),
    Option(
        "balena_tags",
        Tags.IGNORE.value,
        "What the tag of <org>/<app> does: ignore, or select a release, so that"
        " <org>/<app>:2.3 pulls what <org>/<app>/2.3 does. Tokens get longer then,"
        " because they are for many releases.",
        choices=tuple(Tags),
    ),
    Option(
        "balena_tags_max",
        20,
        "Releases among which the tags of one application select, if they do: the"
        " target release and the greatest versions. Fewer if the token would not fit"
        " into a header of 8 kB; any other is found by its path.",
        least=1,
        most=60,
    ),
    Option(
        "balena_registry_timeout",
        10,
        "Seconds in which the registry, or the storage of a blob, has to be connected"
        " and to answer, and for which it may be silent within a blob. Then the client"
        " gets an error, or a broken transfer.",
        least=1,
        most=600,
    ),
    Option(
        "balena_request_timeout",
        30,
        "Seconds in which a client has to send a whole request, from its first byte"
        " on. Then its connection is closed.",
        least=1,
        most=600,
    ),
    Option(
        "balena_idle_timeout",
        120,
        "Seconds for which a client's connection is kept open without a request. Has"
        " to be longer than a load balancer in front keeps it.",
        least=1,
        most=3600,
    ),
    Option(
        "balena_connections_max",
        0,
        "Connections of clients at the same time. Beyond them the longest idle one is"
        " closed, or the new one if none is idle. 0 is what the limit of open files"
        " allows, 4096 at most.",
        most=100_000,
    ),
    Option(
        "balena_grace_period",
        25,
        "Seconds for which running transfers go on after SIGTERM, while nobody else is"
        " let in. 0 ends them at once.",
        most=3600,
    ),
    Option(
        "balena_blobs",
        Blobs.REDIRECT.value,
        "redirect passes the registry's redirect of a blob on to the client; follow"
        " fetches the blob for it, where clients reach the proxy and not the storage.",
        choices=tuple(Blobs),
    ),
    Option(
        "balena_blobs_allow",
        "",
        "Hosts, addresses and networks that a blob may be fetched from although they"
        " are not on the internet, with commas, as in minio.example.com,10.1.0.0/16."
        " The registry's own host is one of them.",
    ),
    Option(
        "balena_tls_cert",
        "",
        "PEM file of the proxy's own certificate and its chain, for clients that use"
        " TLS; read again when it changes. If empty, mitmproxy makes one for each host,"
        " signed by its own authority.",
    ),
    Option(
        "balena_tls_key",
        "",
        "PEM file of the key to that certificate. If empty, the key is in the file of"
        " the certificate.",
    ),
    Option(
        "balena_metrics_listen",
        "",
        "Address and port where Prometheus finds /metrics, as in 127.0.0.1:9090. If"
        " empty, nothing is counted.",
    ),
    Option(
        "balena_log_format",
        LogFormat.TEXT.value,
        "text, or json for one object in each line of mitmdump's log.",
        choices=tuple(LogFormat),
    ),
    Option(
        "balena_show_secrets",
        default=False,
        help="Leave API keys and tokens in flows, and so in whatever is saved or"
        " exported. Only for debugging on your own: who has the file can use them.",
    ),
)
OPTIONS = tuple(option.name for option in _OPTIONS)
REQUIRED = {
    "keep_host_header": True,
    "rawtcp": False,
    "websocket": False,
    "onboarding": False,
    "validate_inbound_headers": True,
    "proxy_debug": False,
}
"""Without them clients are sent elsewhere, more than HTTP requests is served, or keys
are in the log."""
OPTIONS_OF_MITMPROXY = (
    "mode",
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
    *REQUIRED,
)
"""The options beside our own on which the connections upstream depend."""
CONNECTIONS_MAX = 4096
"""Where the limit of open files would allow more."""
FILES_RESERVED = 128
"""Open files that are no connections of clients, the API's among them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked."""

    registry: mode_specs.ReverseMode
    registry_url: str
    api_url: str | None
    public_url: str | None
    trust_forwarded: bool
    cache_ttl: int
    tags_max: int
    """Among how many releases tags select; 0 where they are ignored."""
    api_timeout: int
    grace_period: int
    limits: Limits
    certificate: OwnCertificate | None
    metrics_address: tuple[str, int] | None
    log_format: LogFormat
    show_secrets: bool
    follows_redirects: bool
    """Whether those of blobs are, instead of being passed to the client."""
    blobs_allowed: Allowed
    verification: transport.Verification


def declare_options(loader: Loader) -> None:
    """Tell mitmproxy which options there are."""
    for option in _OPTIONS:
        loader.add_option(
            option.name, type(option.default), option.default, option.help
        )
    try:
        ctx.options.process_deferred()
    except (exceptions.OptionsError, TypeError) as error:
        # mitmproxy would drop this addon without a word, and forward everything.
        for name in OPTIONS:
            ctx.options.deferred.pop(name, None)
        logger.error("%s", error)  # noqa: TRY400


def read_settings() -> Settings:
    """Return the options, checked.

    Raises:
        OptionsError: one of them has a value that cannot work.

    """
    options = ctx.options
    registry = _read_mode(options.mode)
    for name, value in REQUIRED.items():
        if getattr(options, name) != value:
            raise exceptions.OptionsError(
                f"{name}: has to be {str(value).lower()}, as in mitm.conf; link that as"
                " config.yaml into the confdir, as make run does"
            )
    unknown = [name for name in options.deferred if name.startswith("balena_")]
    if unknown:
        raise exceptions.OptionsError(
            f"{unknown[0]}: there is no such option; there are {', '.join(OPTIONS)}"
        )
    for option in _OPTIONS:
        value = getattr(options, option.name)
        if option.most and not option.least <= value <= option.most:
            raise exceptions.OptionsError(
                f"{option.name}: {value} is not between {option.least} and"
                f" {option.most}"
            )
        if option.choices and value not in option.choices:
            raise exceptions.OptionsError(
                f"{option.name}: {value!r} is not one of {', '.join(option.choices)}"
            )
    url = f"{registry.scheme}://{format_host(*registry.address)}"
    return Settings(
        registry=registry,
        registry_url=public_url.parse_url(url),
        api_url=_read_url("balena_api_url", options.balena_api_url),
        public_url=_read_url("balena_public_url", options.balena_public_url),
        trust_forwarded=options.balena_trust_forwarded,
        cache_ttl=options.balena_cache_ttl,
        tags_max=options.balena_tags_max if options.balena_tags == Tags.SELECT else 0,
        api_timeout=options.balena_api_timeout,
        grace_period=options.balena_grace_period,
        limits=Limits(
            connections=options.balena_connections_max or _connections_of_files(),
            idle_seconds=options.balena_idle_timeout,
            request_seconds=options.balena_request_timeout,
            registry_seconds=options.balena_registry_timeout,
        ),
        certificate=_read_certificate(options.balena_tls_cert, options.balena_tls_key),
        metrics_address=_read_address(options.balena_metrics_listen),
        log_format=LogFormat(options.balena_log_format),
        show_secrets=options.balena_show_secrets,
        follows_redirects=(follows := options.balena_blobs == Blobs.FOLLOW),
        blobs_allowed=_read_allowed(options.balena_blobs_allow, follows=follows),
        verification=transport.Verification(
            enabled=not options.ssl_insecure,
            ca_file=_read_path("ssl_verify_upstream_trusted_ca"),
            ca_folder=_read_path("ssl_verify_upstream_trusted_confdir"),
        ),
    )


def _connections_of_files() -> int:
    """Return how many clients the limit of open files leaves room for."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, (files - FILES_RESERVED) // 2))


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


def _read_allowed(text: str, *, follows: bool) -> Allowed:
    if text and not follows:
        raise exceptions.OptionsError(
            "balena_blobs_allow: has no effect without balena_blobs=follow (BLOBS)"
        )
    try:
        return parse_allowed(text)
    except ValueError as error:
        raise exceptions.OptionsError(f"balena_blobs_allow: {error}") from error


def _read_certificate(certificate: str, key: str) -> OwnCertificate | None:
    """Return the certificate that the options name, after a look at it."""
    if key and not certificate:
        raise exceptions.OptionsError(
            "balena_tls_key: has no effect without balena_tls_cert (TLS_CERT); name the"
            " certificate as well"
        )
    if not certificate:
        return None
    paths = [Path(name).expanduser() for name in (certificate, key) if name]
    own = OwnCertificate(*paths)
    try:
        own.read()
    except CertificateError as error:
        raise exceptions.OptionsError(str(error)) from error
    return own


def _read_address(text: str) -> tuple[str, int] | None:
    """Return where the metrics are shown."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        number = int(port)
    except ValueError:
        number, address = 0, ""
    if not 0 < number <= public_url.PORT_MAX:
        raise exceptions.OptionsError(
            f"balena_metrics_listen: {text!r} is no address with a port; write it as in"
            " 127.0.0.1:9090 or [::1]:9090"
        )
    return address, number


def _read_path(option: str) -> str | None:
    """Return the path of certificates that an option of mitmproxy's names."""
    text = getattr(ctx.options, option)
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.exists():
        raise exceptions.OptionsError(f"{option}: there is no {path}")
    return str(path)


def format_host(name: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
