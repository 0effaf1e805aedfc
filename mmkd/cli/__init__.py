"""From the command line to a Runner: training (train.py), testing (test.py) and what both share."""
