"""mitmweb and the report in a real browser."""
