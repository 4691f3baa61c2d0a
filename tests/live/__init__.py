"""The page of pulls, live."""
