"""A page about the pulls in a flow file, to read and to attach to a bug report.

Everything in a flow comes from somebody else: a client chooses its path, a registry its
words. And flows may have secrets in them. So a flow is read once, into a
`report.request.Request`, and the page is made of those alone.
"""
