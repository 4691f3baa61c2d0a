"""Releases: how the API is asked for them, and which one an alias or a tag selects."""
