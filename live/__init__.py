"""The page of pulls, live: what runs and ran, and the page that shows it.

A pull is on it as it is in the report: from the same requests, sorted in the same way,
and in the same words.
"""
