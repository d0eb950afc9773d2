"""Clusters in use: what is watched, what is told of it."""
