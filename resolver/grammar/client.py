"""What a client does, as far as its ``User-Agent`` tells: only what no answer can ask.

Seen with docker 20.10 to 28.5, containerd 1.6 to 2.1, podman 4.3 to 5.8, crane 0.20
and oras 1.3. A client that is not known is taken for one that does as the
specifications say.
"""

import re
from dataclasses import dataclass

_CONTAINERD = re.compile(r"(?:containerd|buildkit)/|docker/.* containerd-client/")
_ENGINE = re.compile(
    r"(?:docker|docker-client|balena-engine|balena|moby)/", re.IGNORECASE
)
_MISSING = re.compile(r"oras|docker-client/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """A client, by the ``User-Agent`` that it sends."""

    user_agent: str

    @property
    def takes_scopes(self) -> bool:
        """Whether it gets another token where a challenge says so.

        docker's classic store and its command line do not; so the token that they
        have must do.
        """
        return not _ENGINE.match(self.user_agent) or self.asks_with_head

    @property
    def asks_with_head(self) -> bool:
        """Whether it asks for a manifest with HEAD, and so gets no words in an answer.

        containerd's resolver does, and so docker with the containerd store, BuildKit
        and Kubernetes. Its user sees the status line, but nothing of a 404.
        """
        return bool(_CONTAINERD.match(self.user_agent))

    def hides_missing(self, method: str) -> bool:
        """Return whether its user sees nothing of a 404 for a manifest."""
        is_head = self.asks_with_head and method == "HEAD"
        return is_head or bool(_MISSING.match(self.user_agent))
