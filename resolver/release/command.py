"""Show what a name stands for, without any proxy.

The API key is read from BALENA_API_KEY; without it, public applications are seen.
The API is that of API_URL, or of API_HOST or DNS_TLD, or balenaCloud's; it is asked by
the proxy that HTTPS_PROXY names, unless NO_PROXY names the API.
"""

import argparse
import sys
from collections.abc import Mapping

from resolver.errors import AccessDenied, RegistryError, ServiceUnavailable
from resolver.grammar.credential import credential_of_environment
from resolver.grammar.reference import parse_reference, shorten
from resolver.grammar.url import parse_url
from resolver.release import query
from resolver.release.denial import explain_denial
from resolver.release.description import describe_releases, describe_resolution
from resolver.release.release import parse_application
from resolver.release.resolution import ApiResolver, deny
from resolver.upstream.api import Api
from resolver.upstream.deadline import Deadline
from resolver.upstream.outgoing import Proxies
from resolver.upstream.transport import Transport, Verification

SECONDS = 30
EXAMPLE = "balenablocks/browser-aarch64/2.3"
CLOUD_URL = "https://api.balena-cloud.com"
_HOSTS = (
    ("API_HOST", "", "api.example.com"),
    ("DNS_TLD", "api.", "balena.example.com"),
)
"""Variables, what the API's host has before their value, and what one looks like."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the reference, and what is to be shown of it."""
    parser.add_argument(
        "reference",
        metavar="REF",
        nargs="?",
        help="<org>/<app>[/<version|commit>[/<service>]] or <org>/<app>:<version>;"
        " a registry's host may stand before it",
    )
    parser.add_argument(
        "--all", action="store_true", help="list the releases of the application"
    )


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Print what was asked for, and return the exit status."""
    if not options.reference:
        sys.stderr.write(f"REF is missing: name a release, as in {EXAMPLE}\n")
        return 2
    try:
        url = api_url(environment)
        text = _answer(options.reference, url, environment, show_all=options.all)
    except (RegistryError, ValueError) as error:
        sys.stderr.write(f"{_explain(error)}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def api_url(environment: Mapping[str, str]) -> str:
    """Return the API that the environment names.

    Raises:
        ValueError: what it names is no URL of a host; the message names the variable.

    """
    if url := environment.get("API_URL"):
        try:
            return parse_url(url)
        except ValueError as error:
            raise ValueError(f"API_URL: {error}") from error
    for variable, begin, example in _HOSTS:
        if host := environment.get(variable):
            try:
                return parse_url(f"https://{begin}{host}")
            except ValueError as error:
                raise ValueError(
                    f"{variable}: {shorten(host)} is no host name or address; write it"
                    f" as in {example}"
                ) from error
    return CLOUD_URL


def _explain(error: RegistryError | ValueError) -> str:
    """Return what is wrong; of all servers, the API alone is asked."""
    if isinstance(error, ServiceUnavailable) and error.cause:
        return (
            f"the balena API {error.explanation}; try again later, or name another with"
            " API_URL"
        )
    return error.in_log if isinstance(error, RegistryError) else str(error)


def _answer(
    text: str, url: str, environment: Mapping[str, str], *, show_all: bool
) -> str:
    reference = parse_reference(text)
    alias = reference.alias
    credential = credential_of_environment(environment)
    verification = Verification(ca_file=environment.get("REQUESTS_CA_BUNDLE"))
    transport = Transport(verification, proxies=Proxies.of(environment))
    api, deadline = Api(url, transport), Deadline.after(SECONDS)
    try:
        if not show_all:
            resolver = ApiResolver(api, registry_hosts=None)
            resolution = resolver.resolve(alias, credential, deadline)
            return describe_resolution(resolution, reference)
        payload = api.query(query.all_releases(alias.slug), credential, deadline)
        application = parse_application(payload)
        if application is None:
            raise deny(alias.slug, credential)
        return describe_releases(application)
    except AccessDenied as error:
        raise explain_denial(alias.slug, api, credential, deadline) from error
    finally:
        transport.close()
