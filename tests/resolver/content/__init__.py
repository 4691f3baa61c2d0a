"""Tests of resolver.content."""
