"""Tests of the cache of blobs."""
