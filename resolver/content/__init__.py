"""A request under /v2/: forwarded, found among candidates, answered."""
