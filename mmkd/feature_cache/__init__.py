"""Features that are computed once and kept in a file. An optional folder: only the list of hooks imports it."""
