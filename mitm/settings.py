"""Decides which values of the options are sound, and what they mean together."""

import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path

from mitmproxy import ctx, exceptions
from mitmproxy.proxy import mode_specs

from mitm.guard.certificate import (
    CertificateError,
    OwnCertificate,
    certificates_of_mitmproxy,
)
from mitm.guard.connection import Limits
from mitm.option import DECLARED, OPTIONS, REFUSED, REQUIRED, Blobs, Tags, Tls
from mitm.story.log_format import LogFormat
from resolver.grammar import url
from resolver.storage.address import Allowed, parse_allowed
from resolver.upstream import transport

if sys.platform != "win32":
    import resource

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
    serves_tls: bool
    """Whether the port speaks TLS beside plain HTTP."""
    metrics_address: tuple[str, int] | None
    log_format: LogFormat
    fast_events: bool
    show_secrets: bool
    follows_redirects: bool
    """Whether those of blobs are, instead of being passed to the client."""
    blobs_allowed: Allowed
    verification: transport.Verification


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
    for name, reason in REFUSED.items():
        # An older mitmproxy has not all of them.
        if name in options and getattr(options, name):
            raise exceptions.OptionsError(f"{name}: cannot be used, because {reason}")
    unknown = [name for name in options.deferred if name.startswith("balena_")]
    if unknown:
        raise exceptions.OptionsError(
            f"{unknown[0]}: there is no such option; there are {', '.join(OPTIONS)}"
        )
    for option in DECLARED:
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
    certificate = _read_certificate(options.balena_tls_cert, options.balena_tls_key)
    registry_url = f"{registry.scheme}://{format_host(*registry.address)}"
    return Settings(
        registry=registry,
        registry_url=url.parse_url(registry_url),
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
        certificate=certificate,
        serves_tls=_read_tls(options.balena_tls, certificate),
        metrics_address=_read_address(options.balena_metrics_listen),
        log_format=LogFormat(options.balena_log_format),
        fast_events=options.balena_fast_events,
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
        return url.parse_url(text) if text else None
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


def _read_tls(text: str, certificate: OwnCertificate | None) -> bool:
    """Return whether TLS was asked for."""
    if text == Tls.AUTHORITY and certificate:
        raise exceptions.OptionsError(
            "balena_tls (TLS): authority would sign nothing, because clients are shown"
            " the certificate of balena_tls_cert (TLS_CERT); leave one of them out"
        )
    if text == Tls.OFF and certificate is None and certificates_of_mitmproxy():
        raise exceptions.OptionsError(
            "certs: has no effect, because the port speaks plain HTTP; name the file as"
            " balena_tls_cert (TLS_CERT)"
        )
    return text == Tls.AUTHORITY or certificate is not None


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
    if not 0 < number <= url.PORT_MAX:
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
