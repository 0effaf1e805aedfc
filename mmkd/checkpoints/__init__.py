"""Checkpoints: written atomically, loaded safely, and found again for resuming."""
