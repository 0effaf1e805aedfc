"""A teacher: built, loaded, frozen."""
