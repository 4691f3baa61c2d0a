"""Tests of resolver.storage."""
