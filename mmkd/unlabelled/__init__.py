"""Batches of images without labels."""
