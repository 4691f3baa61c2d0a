"""Names of balena releases, and the locations of their images.

Plain Python, without mitmproxy. Each room uses those above it alone:

- `errors`: what can go wrong, and the words of it
- `grammar`: what is written on the wire (`grammar.selector` reads versions and commits)
- `upstream`: HTTP to registry and API, with its deadlines
- `release`: which release an alias or a tag means, and where its image is
- `storage`: the redirects of blobs
- `token`: the token endpoint, and the aliases that a token carries
- `content`: requests under /v2/

A limit is a constant in capitals at the head of the module that keeps it.
"""
