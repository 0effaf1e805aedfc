"""Files that are written whole, loaded safely, and resumed from."""
