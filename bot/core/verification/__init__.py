"""Verified means measured: the Jobs, what they print, what a GPU should do, and the verdict."""
