"""The teacher: built, loaded and frozen."""
