"""The settings: the addon's own options and mitmproxy's, checked and put together."""

import logging
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs

from mitm.guard.certificate import (
    CertificateError,
    OwnCertificate,
    certificates_of_mitmproxy,
)
from mitm.guard.connection import Limits
from mitm.option import (
    FOLLOWING,
    OPTIONS,
    OPTIONS_OF_MITMPROXY,
    REFUSED,
    REQUIRED,
    TABLE,
    Blobs,
    LogFormat,
    Names,
    Tags,
    Tls,
    ValueRefused,
    parse_options,
)
from resolver.blob.count import FETCHES
from resolver.grammar.url import format_host, parse_url
from resolver.storage.address import Allowed
from resolver.upstream import transport
from resolver.upstream.outgoing import NONE, Proxies

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

TOKEN_LENGTH_MAX = 200
_TOKEN = re.compile(r"[\w-]{16,}", re.ASCII)

CONNECTIONS_MAX = 4096
"""Where the limit of open files would allow more."""
SHARES = 2
"""One address may have the first part of so many, at most."""
FILES_RESERVED = 864
"""Open files that are no connections of clients: what waits for API and registry, in
threads, has 736 at most. Where few may be open, half of them."""
FILES_OF_FETCHES = 2 * FETCHES
"""Those of a cache: each fetch has a connection, and the file that it writes."""
FILES_EACH, FILES_EACH_WITH_CACHE = 2, 4
"""A client has its connection, and one to the registry. With a cache it has one to the
server of blobs instead, which has that connection's other end, and the blob's file."""
OPTIONS_READ = (*(option.name for option in OPTIONS), *OPTIONS_OF_MITMPROXY)
"""The options that settings come from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked."""

    registry: mode_specs.ReverseMode
    registry_url: str
    names: Names
    realm_hosts: frozenset[str]
    """Hosts that are trusted with logins beside those of the registry's own domain."""
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
    pulls_address: tuple[str, int] | None
    """Where the page of pulls is, beside mitmweb."""
    pulls_token: str | None = field(repr=False)
    """Which opens it; None for one that is made up."""
    log_format: LogFormat
    show_secrets: bool
    follows_redirects: bool
    """Whether those of blobs are, instead of being passed to the client."""
    has_nginx: bool
    """Whether nginx in front fetches, keeps and sends blobs."""
    blobs_allowed: Allowed
    cache_dir: Path | None
    """Where blobs are kept; None where they are not."""
    cache_size: int
    """Bytes of all blobs in it together."""
    verification: transport.Verification
    proxies: Proxies = NONE
    """Those that go for registry, API and storage."""


def declare_options(loader: Loader) -> None:
    """Tell mitmproxy which options there are."""
    for option in OPTIONS:
        loader.add_option(
            option.name, type(option.default), option.default, TABLE[option]
        )
    try:
        ctx.options.process_deferred()
    except (exceptions.OptionsError, TypeError) as error:
        # mitmproxy would drop this addon without a word, and forward everything.
        for option in OPTIONS:
            ctx.options.deferred.pop(option.name, None)
        logger.error("%s", error)  # noqa: TRY400


def read_settings() -> Settings:
    """Return the options, checked.

    Raises:
        OptionsError: one of them has a value that cannot work.

    """
    registry = _read_mode(ctx.options.mode)
    _check_options_of_mitmproxy()
    values = _read_values()
    certificate = _read_certificate(values)
    registry_url = f"{registry.scheme}://{format_host(*registry.address)}"
    connections = values["balena_connections_max"] or _connections_of_files(
        has_cache=values["balena_cache_dir"] is not None
    )
    return Settings(
        registry=registry,
        registry_url=parse_url(registry_url),
        names=values["balena_names"],
        realm_hosts=values["balena_realm_hosts"] or frozenset(),
        api_url=values["balena_api_url"],
        public_url=values["balena_public_url"],
        trust_forwarded=values["balena_trust_forwarded"],
        cache_ttl=values["balena_cache_ttl"],
        tags_max=(
            values["balena_tags_max"] if values["balena_tags"] is Tags.SELECT else 0
        ),
        api_timeout=values["balena_api_timeout"],
        grace_period=values["balena_grace_period"],
        limits=Limits(
            connections=connections,
            # With a reverse proxy in front all clients have one address: its own.
            share=(
                connections
                if values["balena_trust_forwarded"]
                else -(-connections // SHARES)
            ),
            idle_seconds=values["balena_idle_timeout"],
            request_seconds=values["balena_request_timeout"],
            registry_seconds=values["balena_registry_timeout"],
        ),
        certificate=certificate,
        serves_tls=values["balena_tls"] is Tls.AUTHORITY or certificate is not None,
        metrics_address=values["balena_metrics_listen"],
        pulls_address=values["balena_pulls_listen"],
        pulls_token=_read_token(values["balena_pulls_token"]),
        log_format=values["balena_log_format"],
        show_secrets=values["balena_show_secrets"],
        follows_redirects=(
            values["balena_blobs"] in FOLLOWING
            or values["balena_cache_dir"] is not None
        ),
        has_nginx=values["balena_blobs"] is Blobs.NGINX,
        blobs_allowed=values["balena_blobs_allow"] or Allowed(),
        cache_dir=values["balena_cache_dir"],
        cache_size=values["balena_cache_size"],
        verification=transport.Verification(
            enabled=not ctx.options.ssl_insecure,
            ca_file=_read_path("ssl_verify_upstream_trusted_ca"),
            ca_folder=_read_path("ssl_verify_upstream_trusted_confdir"),
        ),
        proxies=_read_proxies(values),
    )


def _check_options_of_mitmproxy() -> None:
    options = ctx.options
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
        names = ", ".join(option.name for option in OPTIONS)
        raise exceptions.OptionsError(
            f"{unknown[0]}: there is no such option; there are {names}"
        )


def _read_values() -> dict[str, Any]:
    """Return the values of the addon's own options."""
    values = {option.name: getattr(ctx.options, option.name) for option in OPTIONS}
    try:
        return parse_options(values)
    except ValueRefused as error:
        raise exceptions.OptionsError(str(error)) from error


def _read_proxies(values: dict[str, Any]) -> Proxies:
    """Return the proxies that the environment names, as every program's does."""
    try:
        proxies = Proxies.of(os.environ)
    except ValueError as error:
        raise exceptions.OptionsError(str(error)) from error
    if proxies and ctx.options.connection_strategy != "lazy":
        raise exceptions.OptionsError(
            "connection_strategy: has to be lazy where HTTPS_PROXY is set; otherwise"
            " mitmproxy connects before it is known by which proxy"
        )
    if proxies and values["balena_blobs"] is Blobs.NGINX:
        raise exceptions.OptionsError(
            "balena_blobs (BLOBS): nginx fetches blobs by no forward proxy, and"
            " HTTPS_PROXY or another variable names one; set follow, or unset that"
        )
    return proxies


def _connections_of_files(*, has_cache: bool) -> int:
    """Return how many clients the limit of open files leaves room for."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    each, reserved = FILES_EACH, FILES_RESERVED
    if has_cache:
        each, reserved = FILES_EACH_WITH_CACHE, reserved + FILES_OF_FETCHES
    return max(1, min(CONNECTIONS_MAX, (files - min(reserved, files // 2)) // each))


def _read_mode(modes: list[str]) -> mode_specs.ReverseMode:
    specs = [mode_specs.ProxyMode.parse(mode) for mode in modes]
    match specs:
        case [mode_specs.ReverseMode(scheme="http" | "https") as registry]:
            return registry
    raise exceptions.OptionsError(
        f"mode: {' '.join(modes)} does not say which registry is fronted; expected one"
        " reverse:https://<registry>[:<port>]@[<listen address>:]<port>"
    )


def _read_certificate(values: dict[str, Any]) -> OwnCertificate | None:
    """Return the certificate that the options name, after a look at it."""
    file = values["balena_tls_cert"]
    if file is None:
        if values["balena_tls"] is Tls.OFF and certificates_of_mitmproxy():
            raise exceptions.OptionsError(
                "certs: has no effect, because the port speaks plain HTTP; name the"
                " file as balena_tls_cert (TLS_CERT)"
            )
        return None
    own = OwnCertificate(file, values["balena_tls_key"])
    try:
        own.read()
    except CertificateError as error:
        raise exceptions.OptionsError(str(error)) from error
    return own


def _read_token(file: Path | None) -> str | None:
    """Return the token in the file that the options name."""
    if file is None:
        return None
    name = "balena_pulls_token (PULLS_TOKEN)"
    try:
        with file.open(encoding="ascii", errors="replace") as opened:
            text = opened.read(TOKEN_LENGTH_MAX).strip()
    except OSError as error:
        raise exceptions.OptionsError(f"{name}: {file}: {error.strerror}") from error
    if not _TOKEN.fullmatch(text):
        raise exceptions.OptionsError(
            f"{name}: {file} has no token of 16 or more letters, digits, - and _; make"
            f" one with openssl rand -hex 16 >{file}"
        )
    return text


def _read_path(option: str) -> str | None:
    """Return the path of certificates that an option of mitmproxy's names."""
    text = getattr(ctx.options, option)
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.exists():
        raise exceptions.OptionsError(f"{option}: there is no {path}")
    return str(path)
