"""Stage after stage: what is learned when, for how long, and how it went. These modules know the runner."""
