"""``python -m resolver <reference>``: what it stands for, without any proxy.

The API key is read from BALENA_API_KEY; without it, public applications are seen.
The API is that of API_URL, or of API_HOST or DNS_TLD, or balenaCloud's.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from resolver.errors import AccessDenied, RegistryError
from resolver.grammar.credential import credential_of_environment
from resolver.grammar.reference import parse_reference
from resolver.grammar.url import parse_url
from resolver.release import query
from resolver.release.denial import explain_denial
from resolver.release.description import describe_releases, describe_resolution
from resolver.release.release import parse_application
from resolver.release.resolution import ApiResolver, deny
from resolver.upstream.api import Api
from resolver.upstream.deadline import Deadline
from resolver.upstream.transport import Transport, Verification

SECONDS = 30
EXAMPLE = "balenablocks/browser-aarch64/2.3"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was asked for, and return the exit status."""
    options = _parse_options(arguments)
    try:
        url = api_url(os.environ)
        text = _answer(options.reference, url, os.environ, show_all=options.all)
    except (RegistryError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def api_url(environment: Mapping[str, str]) -> str:
    """Return the API that the environment names.

    Raises:
        ValueError: what it names is no URL of a host.

    """
    if url := environment.get("API_URL"):
        return parse_url(url)
    host = environment.get("API_HOST")
    return parse_url(
        f"https://{host or 'api.' + (environment.get('DNS_TLD') or 'balena-cloud.com')}"
    )


def _answer(
    text: str, url: str, environment: Mapping[str, str], *, show_all: bool
) -> str:
    reference = parse_reference(text)
    alias = reference.alias
    credential = credential_of_environment(environment)
    verification = Verification(ca_file=environment.get("REQUESTS_CA_BUNDLE"))
    transport = Transport(verification)
    api, deadline = Api(url, transport), Deadline.after(SECONDS)
    try:
        if not show_all:
            resolver = ApiResolver(api, registry_hosts=None)
            resolution = resolver.resolve(alias, credential, deadline)
            return describe_resolution(resolution, reference)
        payload = api.query(query.all_releases(alias.slug), credential, deadline)
        application = parse_application(payload)
        if application is None:
            raise deny(alias.slug)
        return describe_releases(application)
    except AccessDenied as error:
        raise explain_denial(alias.slug, api, credential, deadline) from error
    finally:
        transport.close()


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resolver", description=__doc__)
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
    options = parser.parse_args(arguments)
    if not options.reference:
        parser.exit(2, f"REF is missing: name a release, as in {EXAMPLE}\n")
    return options


if __name__ == "__main__":
    sys.exit(main())
