"""localcloud: a balenaCloud small enough for one process.

It serves the API's two endpoints (OData and registry tokens), a read-only
registry and, where blobs are redirected, their storage, all on loopback with
sample applications. It stands in for the real thing in the demo and the tests,
answers what the proxy and recorded clients send and little else, and shares no code
with what it tests.
"""

from localcloud.cloud import LocalCloud

__all__ = ["LocalCloud"]
