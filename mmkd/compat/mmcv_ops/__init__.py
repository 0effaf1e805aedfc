"""Replacements of mmcv's compiled ops, one family a file."""
