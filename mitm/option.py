"""The one table of options: the addon's own, and the variables that set them.

`registry_proxy` turns variables and the options of its command line into options of
mitmproxy's with it, `settings` reads those with it, and ``python -m mitm.option``
prints it for the documentation. It is plain Python, because it is read before mitmproxy
is loaded. What follows it are the options of mitmproxy's that
are required and refused.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mitm.parser import (
    address,
    number,
    parse_address_with_port,
    parse_file,
    parse_flag,
    parse_folder,
    parse_host_name,
    parse_hosts,
    parse_port,
    parse_size,
    parse_token_file,
    word,
)
from resolver.grammar.url import PORT_MAX, parse_url
from resolver.storage.address import parse_allowed


class Blobs(StrEnum):
    """What becomes of a blob that the registry redirects to a storage."""

    REDIRECT = "redirect"
    FOLLOW = "follow"
    NGINX = "nginx"


FOLLOWING = (Blobs.FOLLOW, Blobs.NGINX)
"""With these the proxy itself looks where a redirect leads."""


class Names(StrEnum):
    """What names of repositories are."""

    BALENA = "balena"
    REGISTRY = "registry"


class LogFormat(StrEnum):
    """How the lines of the log are written."""

    TEXT = "text"
    JSON = "json"


class Tags(StrEnum):
    """What tags do."""

    IGNORE = "ignore"
    SELECT = "select"


class Tls(StrEnum):
    """Who signs the certificates that clients are shown, if no file has one."""

    OFF = "off"
    AUTHORITY = "authority"


class ValueRefused(ValueError):
    """An option or a variable has a value that cannot work; the message names it."""


CACHE_MISSING = (
    "CACHE: is not set; name the folder in which the proxy keeps blobs, as in"
    " CACHE=/var/cache/registry-proxy"
)
"""What is said where a command cannot do without it."""


@dataclass(frozen=True, slots=True)
class Option:
    """A row: an option of the addon, a variable, or what is both.

    The type of the default is that of the option; an empty one is none.
    """

    name: str
    variable: str
    default: str | int
    parse: Callable[[Any], object]

    @property
    def key(self) -> str:
        """By which name its value is found."""
        return self.name or self.variable


TABLE: dict[Option, str] = {
    Option("", "DNS_TLD", "balena-cloud.com", parse_host_name): (
        "Domain of the installation: its registry is `https://registry2.$DNS_TLD`,"
        " its API `https://api.$DNS_TLD`."
    ),
    Option("", "REGISTRY2_HOST", "", parse_host_name): (
        "Host of the registry, served over TLS; beats `DNS_TLD`."
    ),
    Option("", "REGISTRY_URL", "", parse_url): (
        "URL of the registry; beats the two above."
    ),
    Option("balena_names", "NAMES", Names.BALENA.value, word(Names)): (
        "What names are: with `balena` those of releases, which the API finds; with"
        " `registry` the registry's own, so that any registry is served as it is."
    ),
    Option("balena_realm_hosts", "REALM_HOSTS", "", parse_hosts): (
        "With `NAMES=registry`, hosts to which requests for tokens may go, and the"
        " logins in them, separated by commas, as in `ghcr.io`. The registry's own host"
        " need not be named, nor any below the same registered domain."
    ),
    Option("", "API_HOST", "", parse_host_name): (
        "Host of the API, served over TLS; beats `DNS_TLD`."
    ),
    Option("balena_api_url", "API_URL", "", parse_url): (
        "URL of the balena API, where releases are looked up and tokens issued. An API"
        " on the registry's own host, or below the same registered domain, need not be"
        " named: the registry names it. Any other has to be."
    ),
    Option("", "LISTEN_HOST", "127.0.0.1", address("PROXY_PORT")): (
        "Address to listen on; `0.0.0.0` for all."
    ),
    Option("", "PROXY_PORT", 8080, number(0, PORT_MAX, "port")): (
        "Port to listen on; 0 is a free one, which the log names."
    ),
    Option("balena_public_url", "PUBLIC_URL", "", parse_url): (
        "URL under which clients reach this proxy, and so the base of the realm that"
        " they are given. If empty, it is the URL that each client used."
    ),
    Option("balena_trust_forwarded", "TRUST_PROXY", default=False, parse=parse_flag): (
        "Trust `Forwarded`, `X-Forwarded-Proto` and `X-Forwarded-Host` for the URL that"
        " the client used. Only behind a reverse proxy that sets them itself: any"
        " client can write them."
    ),
    Option("balena_tags", "TAGS", Tags.SELECT.value, word(Tags)): (
        "What a tag on `<org>/<app>` does: with `select` it selects a release, so that"
        " `<org>/<app>:2.3` pulls what `<org>/<app>/2.3` does; with `ignore` it means"
        " nothing."
    ),
    Option("balena_tags_max", "", 20, number(1, 60, "number of releases")): (
        "How many releases a token for `<org>/<app>` lists, 60 at most: the target"
        " release and the greatest final ones. Clients that ask for a token before they"
        " name a tag, such as docker's classic store, select among these; any other is"
        " found by its path. Fewer if the token would not fit into a header of 8 kB."
    ),
    Option("balena_cache_ttl", "", 300, number(0, 86400)): (
        "Seconds for which the proxy remembers what an alias stands for, separately for"
        " each credential. 0 asks the API each time. Permission is never remembered."
    ),
    Option("balena_api_timeout", "", 10, number(1, 60)): (
        "Seconds for a whole token request: the look-up of releases, retries, and the"
        " API's answer. Clients give up after 15."
    ),
    Option("balena_registry_timeout", "", 10, number(1, 600)): (
        "Seconds for the registry, or the storage of a blob, to accept a connection, to"
        " answer, and to continue a blob. After that the client gets an error, or a"
        " broken transfer."
    ),
    Option("balena_request_timeout", "", 30, number(1, 600)): (
        "Seconds for a client to send a whole request, from its first byte on. After"
        " that it gets 408, and its connection is closed."
    ),
    Option("balena_idle_timeout", "", 120, number(1, 3600)): (
        "Seconds for which a client's idle connection is kept open. Has to be longer"
        " than a load balancer in front keeps it."
    ),
    Option(
        "balena_connections_max", "", 0, number(0, 100_000, "number of connections")
    ): (
        "Connections of clients at the same time, of which one address may have half,"
        " unless `balena_trust_forwarded` says that all come from a reverse proxy."
        " Beyond the limit the longest idle one is closed; if none is idle, the new one"
        " gets 503, except for health checks. 0 means what the limit of open files"
        " allows, 4096 at most."
    ),
    Option("balena_grace_period", "GRACE_PERIOD", 25, number(0, 3600)): (
        "Seconds for which running transfers may go on after SIGTERM, while nobody else"
        " is let in. 0 ends them at once."
    ),
    Option("balena_blobs", "BLOBS", Blobs.REDIRECT.value, word(Blobs)): (
        "`redirect` passes the registry's redirect of a blob on to the client; `follow`"
        " fetches the blob for it, for clients that reach the proxy but not the"
        " storage; `nginx` lets nginx in front fetch, keep and send it; a request that"
        " did not come through nginx is answered as with `follow`."
    ),
    Option("balena_blobs_allow", "BLOBS_ALLOW", "", parse_allowed): (
        "Hosts, addresses and networks from which blobs may be fetched although they"
        " are not on the internet, separated by commas, as in"
        " `minio.example.com,10.1.0.0/16`. The registry's own host is always allowed."
    ),
    Option("balena_cache_dir", "CACHE", "", parse_folder): (
        "Folder in which blobs are kept, so that the registry sends each once. A client"
        " gets a blob from it only if the registry would give it. Redirects are"
        " followed, as with `BLOBS=follow`. If empty, nothing is kept."
    ),
    Option("balena_cache_size", "CACHE_SIZE", "20GB", parse_size): (
        "The size of all blobs in it together, as in `500MB` or `1TiB`. Beyond that the"
        " least recently used are evicted."
    ),
    Option("balena_tls", "TLS", Tls.OFF.value, word(Tls)): (
        "`off` is plain HTTP alone, unless `balena_tls_cert` names a certificate;"
        " `authority` serves TLS as well, with certificates that mitmproxy's own"
        " authority signs for each host. Clients have to be told to trust it."
    ),
    Option("balena_tls_cert", "TLS_CERT", "", parse_file): (
        "PEM file of the proxy's own certificate with its chain; read again when it"
        " changes. With it, the port serves TLS as well as plain HTTP."
    ),
    Option("balena_tls_key", "TLS_KEY", "", parse_file): (
        "PEM file of the key to that certificate. If empty, the key is in the"
        " certificate's file."
    ),
    Option("", "CONFDIR", ".mitmproxy", str): (
        "Folder of mitmproxy's certificate authority, and of the link to `mitm.conf`."
    ),
    Option("balena_metrics_listen", "", "", parse_address_with_port): (
        "Address and port where Prometheus finds `/metrics`, as in `127.0.0.1:9090`."
        " If empty, nothing is counted."
    ),
    Option("", "METRICS_PORT", "", parse_port): (
        "Port of `balena_metrics_listen`; without it, nothing is counted."
    ),
    Option("", "METRICS_HOST", "", address("METRICS_PORT")): (
        "Address of `balena_metrics_listen`. If empty, it is `LISTEN_HOST`."
    ),
    Option("balena_pulls_listen", "", "", parse_address_with_port): (
        "Address and port of the page of pulls, as in `127.0.0.1:8085`; in"
        " mitmweb it is there in any case. If empty, nothing is kept for it."
    ),
    Option("", "PULLS_PORT", "", parse_port): (
        "Port of `balena_pulls_listen`; without it, there is no page of pulls."
    ),
    Option("", "PULLS_HOST", "", address("PULLS_PORT")): (
        "Address of `balena_pulls_listen`. If empty, it is 127.0.0.1, whatever"
        " `LISTEN_HOST` is: the page is plain HTTP."
    ),
    Option("balena_pulls_token", "PULLS_TOKEN", "", parse_token_file): (
        "File with the token that opens the page of pulls, 16 or more letters and"
        " digits. If empty, a token is made up at each start, and the log names it."
    ),
    Option("balena_log_format", "LOG_FORMAT", LogFormat.TEXT.value, word(LogFormat)): (
        "`text`, or `json` for one object in each line of mitmdump's log."
    ),
    Option("balena_show_secrets", "", default=False, parse=parse_flag): (
        "Leave API keys and tokens in flows, and so in whatever is saved or exported."
        " Only for debugging on your own: whoever has the file can use them."
    ),
    Option("", "WEB_PORT", 8081, parse_port): (
        "Port of mitmweb's page, for `make web`. If it is not set and 8081 is taken,"
        " another one."
    ),
    Option("", "ARGS", "", str): "More arguments for mitmdump.",
}
"""Each row, and what mitmproxy and docs/settings.md say about it."""
OPTIONS = tuple(row for row in TABLE if row.name)
VARIABLES = tuple(row.variable for row in TABLE if row.variable)
DEFAULTS: dict[str, Any] = {
    row.key: None if row.default == "" else row.parse(row.default) for row in TABLE
}
REQUIRED = {
    "keep_host_header": True,
    "rawtcp": False,
    "websocket": False,
    "onboarding": False,
    "validate_inbound_headers": True,
}
"""Without them clients are sent elsewhere, or more than HTTP requests is served."""
_OF_RELEASES = (
    *("balena_api_url", "API_HOST", "DNS_TLD"),
    *("balena_tags", "balena_tags_max", "balena_cache_ttl"),
)
"""What only releases by name need."""
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


def parse_variables(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the variables that are set, by the keys of their rows.

    Raises:
        ValueRefused: one of them has a value that cannot work.

    """
    spelling = {row.key: row.variable for row in TABLE if row.variable}
    set_variables = {
        key: text for key, name in spelling.items() if (text := environment.get(name))
    }
    return _parse(set_variables, spelling)


def parse_variable(name: str, environment: Mapping[str, str]) -> Any:
    """Return the value of one variable, or its default, whatever the others are.

    Raises:
        ValueRefused: it has a value that cannot work.

    """
    row = next(row for row in TABLE if row.variable == name)
    text = environment.get(name)
    return _parse_row(row, text, name) if text else DEFAULTS[row.key]


def parse_options(options: Mapping[str, str | int]) -> dict[str, Any]:
    """Return the values of all options, by name; None is an empty one's.

    Raises:
        ValueRefused: one of them has a value that cannot work.

    """
    changed = {
        row.name: options[row.name]
        for row in OPTIONS
        if options[row.name] != row.default
    }
    return DEFAULTS | _parse(changed, {row.name: row.name for row in OPTIONS})


def format_table() -> str:
    """Return the table in Markdown, as it stands in docs/settings.md."""
    lines = ["| variable | option | default | meaning |", "|---|---|---|---|"]
    for row, meaning in TABLE.items():
        is_flag = isinstance(row.default, bool)
        default = str(row.default).lower() if is_flag else str(row.default)
        cells = [
            f" `{text}`" if text else "" for text in (row.variable, row.name, default)
        ]
        lines.append(f"|{' |'.join(cells)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _parse(
    values: Mapping[str, str | int], spelling: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the values mean; errors call them by the names in the spelling."""
    parsed: dict[str, Any] = {}
    for row in TABLE:
        if row.key in values:
            parsed[row.key] = _parse_row(row, values[row.key], spelling[row.key])
    _check_together(parsed, spelling)
    return parsed


def _parse_row(row: Option, value: str | int, name: str) -> object:
    try:
        return row.parse(value)
    except ValueError as error:
        raise ValueRefused(f"{name}: {error}") from error


def _check_together(values: Mapping[str, Any], spelling: Mapping[str, str]) -> None:
    """Refuse what has no effect, or contradicts another value that was values."""
    certificate = spelling["balena_tls_cert"]
    if "balena_tls_key" in values and "balena_tls_cert" not in values:
        raise ValueRefused(
            f"{spelling['balena_tls_key']}: has no effect without {certificate}; set"
            f" {certificate}=/path/to/chain.pem"
        )
    if "balena_tls" in values and "balena_tls_cert" in values:
        raise ValueRefused(
            f"{spelling['balena_tls']}: {values['balena_tls']} contradicts"
            f" {certificate}, which serves TLS with that certificate; leave one of them"
            " out"
        )
    _check_names(values, spelling)
    blobs, trust = spelling["balena_blobs"], spelling["balena_trust_forwarded"]
    cache, passage = spelling["balena_cache_dir"], values.get("balena_blobs")
    is_kept = "balena_cache_dir" in values
    if "balena_blobs_allow" in values and not is_kept and passage not in FOLLOWING:
        raise ValueRefused(
            f"{spelling['balena_blobs_allow']}: has no effect without {blobs}=follow,"
            f" {blobs}=nginx or {cache}; set one of them as well"
        )
    if is_kept and passage not in (None, Blobs.FOLLOW):
        raise ValueRefused(
            f"{blobs}: {passage} contradicts {cache}, by which the proxy itself fetches"
            " blobs and keeps them; leave one of them out"
        )
    if "balena_cache_size" in values and not is_kept:
        raise ValueRefused(
            f"{spelling['balena_cache_size']}: has no effect without {cache}; set"
            f" {cache}=/path/to/folder"
        )
    if passage == Blobs.NGINX and not values.get("balena_trust_forwarded"):
        raise ValueRefused(
            f"{blobs}: nginx has no effect without {trust}=true, because headers say"
            " that it is in front; set that as well, and let nobody reach the proxy"
            " but through nginx"
        )


def _check_names(values: Mapping[str, Any], spelling: Mapping[str, str]) -> None:
    """Refuse what has no effect where names are the registry's, or only there."""
    names = spelling["balena_names"]
    if values.get("balena_names") is not Names.REGISTRY:
        if "balena_realm_hosts" in values:
            raise ValueRefused(
                f"{spelling['balena_realm_hosts']}: has no effect without"
                f" {names}=registry; set that as well"
            )
        return
    for key in _OF_RELEASES:
        if key in values:
            raise ValueRefused(
                f"{spelling[key]}: has no effect with {names}=registry, where names are"
                " the registry's own and no release is looked up; leave it out"
            )


if __name__ == "__main__":
    sys.stdout.write(format_table())
