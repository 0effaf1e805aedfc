"""Everything that exists only because of a dependency's state; each file can be deleted alone."""
