"""Outputs of a network's stages, and their conversion into another network's shape."""
