"""The storage of blobs: where a redirect leads, and whether it may be followed."""
