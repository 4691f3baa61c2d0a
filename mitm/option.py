"""Decides which options there are: the addon's own, and mitmproxy's that it needs."""

import logging
from dataclasses import dataclass
from enum import StrEnum

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader

from mitm.story.log_format import LogFormat

logger = logging.getLogger(__name__)


class Blobs(StrEnum):
    """What becomes of a blob that the registry redirects to a storage."""

    REDIRECT = "redirect"
    FOLLOW = "follow"


class Tags(StrEnum):
    """What tags do."""

    IGNORE = "ignore"
    SELECT = "select"


class Tls(StrEnum):
    """Who signs the certificates that clients are shown, if no file has one."""

    OFF = "off"
    AUTHORITY = "authority"


@dataclass(frozen=True, slots=True)
class Option:
    """One of the addon's own options; its default says of which type it is."""

    name: str
    default: str | bool | int
    help: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()


DECLARED = (
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
        Tags.SELECT.value,
        "What the tag of <org>/<app> does: select a release, so that <org>/<app>:2.3"
        " pulls what <org>/<app>/2.3 does, or ignore, so that it means nothing.",
        choices=tuple(Tags),
    ),
    Option(
        "balena_tags_max",
        20,
        "Releases among which a tag selects for clients that ask for a token before"
        " they name a tag: the target release and the greatest final ones. Fewer if"
        " the token would not fit into a header of 8 kB; any other is found by its"
        " path.",
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
        "balena_tls",
        Tls.OFF.value,
        "off is plain HTTP alone, unless balena_tls_cert names a certificate; authority"
        " serves TLS as well, with certificates that mitmproxy's own authority signs"
        " for each host, and that clients have to be told to trust.",
        choices=tuple(Tls),
    ),
    Option(
        "balena_tls_cert",
        "",
        "PEM file of the proxy's own certificate and its chain; read again when it"
        " changes. With it the port serves TLS as well as plain HTTP.",
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
        "balena_fast_events",
        default=True,
        help="Find out once who takes an event of mitmproxy's, instead of each time:"
        " a third less work for each request. Without effect where mitmproxy is"
        " another than the one that this was made for.",
    ),
    Option(
        "balena_show_secrets",
        default=False,
        help="Leave API keys and tokens in flows, and so in whatever is saved or"
        " exported. Only for debugging on your own: who has the file can use them.",
    ),
)
OPTIONS = tuple(option.name for option in DECLARED)
REQUIRED = {
    "keep_host_header": True,
    "rawtcp": False,
    "websocket": False,
    "onboarding": False,
    "validate_inbound_headers": True,
}
"""Without them clients are sent elsewhere, or more than HTTP requests is served."""
_PAST = "it lets connections through as they are, past the registry proxy"
_KNOWN_KEY = (
    "it signs with the key of an authority that was made public, so that anybody can"
    " pose as this proxy; name a certificate of your own as balena_tls_cert (TLS_CERT)"
)
REFUSED = {
    "allow_hosts": _PAST,
    "body_size_limit": "it breaks off every blob that is longer",
    "emudhra": _KNOWN_KEY,
    "emudhra_old": _KNOWN_KEY,
    "ignore_hosts": _PAST,
    "keep_alt_svc_header": "it shows clients a way past the registry proxy",
    "map_local": "it answers from files, without asking who may have what",
    "map_remote": "it sends requests, and the tokens in them, to others",
    "proxy_debug": "it logs what clients send, with their keys and tokens",
    "proxyauth": "it takes the login that is meant for the registry, and shows it",
    "server_replay": "it answers from a file, without asking who may have what",
    "stickyauth": "it sends the login of one client with the requests of others",
    "stickycookie": "it sends the cookies of one client with the requests of others",
    "stream_large_bodies": "it sends logins past the registry proxy",
    "tcp_hosts": _PAST,
    "udp_hosts": _PAST,
    "upstream_auth": "it puts one login in the place of every client's own",
}
"""Those of mitmproxy's options that cannot be used here, and why."""
OPTIONS_OF_MITMPROXY = (
    "mode",
    "ssl_insecure",
    "ssl_verify_upstream_trusted_ca",
    "ssl_verify_upstream_trusted_confdir",
    *REQUIRED,
    *REFUSED,
)
"""The options beside our own that are looked at."""


def declare_options(loader: Loader) -> None:
    """Tell mitmproxy which options there are."""
    for option in DECLARED:
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
