"""Objectives: the losses of a phase, the extras that learn along, and a measure. A method is a list of them."""
