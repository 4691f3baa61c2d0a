"""Clients that give up, or ask for what is not served."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from cause.evidence import Evidence
from cause.finding import Cause, Finding, shown_url
from resolver.errors import ErrorCode
from resolver.grammar.endpoint import CATALOG_PATH
from resolver.upstream.registry import is_of_one_owner

RETURN_SECONDS = 30
"""So long after a challenge no client comes back: they do so at once."""
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""What pushes and deletes."""
_V1_PING = "/v1/_ping"
"""What podman and skopeo ask for after any /v2/ that failed: no fault by itself."""
_OTHERS = frozenset(
    {
        *("docker.io", "gcr.io", "ghcr.io", "k8s.gcr.io", "lscr.io"),
        *("mcr.microsoft.com", "nvcr.io", "public.ecr.aws", "quay.io"),
        *("registry.gitlab.com", "registry.k8s.io"),
    }
)
"""Registries that are known to be themselves, and not another one's name here."""
_HUB = "docker.io"
_HUB_NAMES = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})
"""One registry, which has these names."""
_CLIENTS = re.compile(
    r"(?:docker|docker-client|containerd|buildkit|containers|skopeo|podman|buildah"
    r"|cri-o|balena|balena-engine|moby|go-containerregistry|crane|oras|helm|nerdctl"
    r"|kaniko|registry-proxy|balena-registry-proxy)/",
    re.IGNORECASE,
)
"""What container clients call themselves, the doctor's own among them; anybody else may
ask whether we are there."""


def never_came_back(
    realm: str, seconds: float, *, user_agent: str, is_refused: bool = False
) -> Finding | None:
    """Return that a client got no token, by its not coming for one; for whoever waits.

    The proxy sees nothing of a request that does not reach it, so this is known by
    absence alone: the client was challenged, and since then nobody asked for a token
    from its address, nor came with one.

    Args:
        realm: where the client was sent; nothing where a login was wanted of it.
        seconds: since the challenge.
        user_agent: what the client calls itself; a monitor wants no token.
        is_refused: whether it came with a token that is for something else.

    """
    if seconds < RETURN_SECONDS or not _CLIENTS.match(user_agent):
        return None
    if is_refused:
        return Finding(
            Cause.CLIENT,
            "the client came with a token that is for something else, was told to get"
            f" another one, and asked for none in {seconds:.0f} s",
            "log out and in with this client; if it is given a token by hand, give it"
            " one for this name",
        )
    if not realm:
        return Finding(
            Cause.LOGIN,
            "the registry wants a user name and a password, and the client sent none"
            f" in {seconds:.0f} s",
            "log in with this client, as with docker login, with a login of that"
            " registry",
        )
    return Finding(
        Cause.REALM,
        f"the client was sent to {shown_url(realm)} for a token, and did not come for"
        f" one in {seconds:.0f} s",
        "see whether the client's machine reaches it:"
        f" curl -i {shown_url(realm)}; if it does not, set PUBLIC_URL to the URL that"
        " clients use",
    )


def _mirror(seen: Evidence) -> Finding | None:
    """Tell that containerd takes this proxy for the mirror of another registry."""
    name, registry = _usual(seen.namespace), _usual(seen.registry)
    is_refused = (seen.status or 0) >= HTTPStatus.BAD_REQUEST and not seen.realm
    is_meant = seen.has_own_names or is_of_one_owner(name, registry)
    if is_meant or name not in _OTHERS or not is_refused:
        return None
    return Finding(
        Cause.CLIENT,
        f"containerd wants this image of {name}, and its hosts.toml names this proxy as"
        f" a mirror of that; the registry behind this proxy is {seen.registry}",
        f"take this proxy out of certs.d/{name}/hosts.toml; until then containerd goes"
        f" on to {name} by itself",
    )


def _usual(host: str) -> str:
    """Return a registry's usual name, without its port."""
    name = host.lower().partition(":")[0]
    return _HUB if name in _HUB_NAMES else name


def _unserved(seen: Evidence) -> Finding | None:
    """Tell what to do where something is asked that is not served."""
    if seen.role is not None or seen.code != ErrorCode.UNSUPPORTED:
        return None
    if seen.method in _WRITING and seen.path.startswith("/v2/"):
        place = "balena with balena push or balena deploy"
        if seen.has_own_names:
            place = f"the registry {seen.registry} itself"
        return Finding(
            Cause.CLIENT,
            seen.message,
            f"push to {place}, and let this client only pull",
        )
    if seen.path.startswith("/v1/") and seen.path != _V1_PING:
        return Finding(
            Cause.CLIENT,
            "docker searches at /v1/, and pulled there before docker 1.6; here is a"
            " registry of /v2/ alone",
            "pull with a client of today; there is no search",
        )
    if seen.path == CATALOG_PATH and not seen.has_own_names:
        return Finding(
            Cause.CLIENT,
            seen.message,
            "registry-proxy resolve --all <org>/<app> lists the releases of one",
        )
    return None


RULES: Sequence[Callable[[Evidence], Finding | None]] = (_mirror, _unserved)
"""In the order in which they are asked."""
