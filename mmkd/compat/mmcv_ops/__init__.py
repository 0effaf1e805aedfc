"""The compiled ops that mmkd stands in for, one family a file."""
