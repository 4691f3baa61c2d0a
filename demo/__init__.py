"""`make demo`: the main job on one machine, offline."""
