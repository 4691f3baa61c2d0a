"""Tests of resolver.token."""
