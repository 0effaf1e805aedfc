"""Checks before the first iteration."""
