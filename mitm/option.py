"""Decides which options are sound: the addon's own, and mitmproxy's that it needs."""

import logging
from dataclasses import dataclass
from pathlib import Path

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import mode_specs

from resolver import public_url, transport

logger = logging.getLogger(__name__)

OPTIONS = (
    "balena_api_url",
    "balena_public_url",
    "balena_trust_forwarded",
    "balena_cache_ttl",
    "balena_api_timeout",
)
REQUIRED = {
    "keep_host_header": True,
    "rawtcp": False,
    "websocket": False,
    "onboarding": False,
}
"""Without them clients are sent elsewhere, or more than HTTP requests is served."""
OPTIONS_OF_MITMPROXY = (
    "mode",
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
    *REQUIRED,
)
"""The options beside our own on which the connections upstream depend."""
CACHE_TTL_MAX = 86400
"""Seconds; a day, after which nobody expects the same answer."""
API_TIMEOUT_MAX = 60
"""Seconds; no client waits nearly as long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked."""

    registry: mode_specs.ReverseMode
    registry_url: str
    api_url: str | None
    public_url: str | None
    trust_forwarded: bool
    cache_ttl: int
    api_timeout: int
    verification: transport.Verification


def declare_options(loader: Loader) -> None:
    """Tell mitmproxy which options there are."""
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
        "balena_cache_ttl",
        int,
        300,
        "Seconds for which it is remembered what an alias stands for, for each"
        " credential. 0 asks the API each time. Permission is never remembered.",
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
    if not 1 <= options.balena_api_timeout <= API_TIMEOUT_MAX:
        raise exceptions.OptionsError(
            f"balena_api_timeout: {options.balena_api_timeout} is not between 1 and"
            f" {API_TIMEOUT_MAX} seconds"
        )
    if not 0 <= options.balena_cache_ttl <= CACHE_TTL_MAX:
        raise exceptions.OptionsError(
            f"balena_cache_ttl: {options.balena_cache_ttl} is not between 0 and"
            f" {CACHE_TTL_MAX} seconds"
        )
    url = f"{registry.scheme}://{format_host(*registry.address)}"
    return Settings(
        registry=registry,
        registry_url=public_url.parse_url(url),
        api_url=_read_url("balena_api_url", options.balena_api_url),
        public_url=_read_url("balena_public_url", options.balena_public_url),
        trust_forwarded=options.balena_trust_forwarded,
        cache_ttl=options.balena_cache_ttl,
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


def format_host(name: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
