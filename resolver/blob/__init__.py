"""Blobs that are kept: who may have one, the folder, and the one fetch of each."""
