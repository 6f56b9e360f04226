"""Compute once, store whole, resume: artifacts, shards, paths, and the points of a sweep."""

from zscir.storage.artifacts import artifact, fingerprint
from zscir.storage.points import grid, run_points
