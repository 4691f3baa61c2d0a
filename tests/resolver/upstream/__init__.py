"""Tests of resolver.upstream."""
