"""From the command line to a Runner: what the tools share."""
