"""Trains stage after stage: what is learned when and for how long, and reports. These modules know the runner."""
