"""Keeps features in a file, so that they are computed once. Optional: only the list of hooks imports this folder."""
