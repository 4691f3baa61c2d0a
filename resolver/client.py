"""What a client does, as far as its ``User-Agent`` tells: only what no answer can ask.

Seen with docker 20.10 to 28.5, containerd 1.6 to 2.1, podman 4.3 to 5.8, crane 0.20
and oras 1.3. A client that is not known is taken for one that does as the
specifications say.
"""

import re

_ONE_SCOPE = re.compile(r"(?:docker|balena-engine|balena|moby)/", re.IGNORECASE)
_WORDLESS = re.compile(r"(?:containerd|buildkit)/", re.IGNORECASE)


def takes_scopes(user_agent: str) -> bool:
    """Return whether the client gets another token where a challenge says so.

    docker's classic store does not. Its other store has the same name, and asks
    without a token first, so that it has the right one from the beginning.
    """
    return not _ONE_SCOPE.match(user_agent)


def shows_token_errors_only(user_agent: str) -> bool:
    """Return whether its user sees why there is no token, and no other reason (R8).

    containerd's resolver, and so docker with the containerd store, BuildKit and
    Kubernetes, asks for a manifest with HEAD, and an answer to that has no words.
    """
    return bool(_WORDLESS.match(user_agent))
