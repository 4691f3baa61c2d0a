"""Compares pulling through the proxy with pulling without it, and with others.

Each thing that is measured is in a file of its own: `pull`, `blob`, `manifest`,
`token`, `start` and `scale`; `contest` measures them one round after the other.
"""
