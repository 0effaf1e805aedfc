"""Where the time of each stage goes (--profile)."""
