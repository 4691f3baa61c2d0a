"""Many pulls, many faults, and what is left of them."""
