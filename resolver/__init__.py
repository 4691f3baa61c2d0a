"""Names of balena releases, and the locations of their images.

Plain Python, without mitmproxy: values and errors at the bottom (`reference`,
`selector`, `scope`, `challenge`, `token`, `errors`), then the API (`transport`, `api`,
`query`, `release`), then what is decided with them: `resolution` of an alias,
`token_service`, `forward` of a request, `answer` of the registry.
"""
