"""What the Visualizer shows of both networks while they learn, and when; optional: only lists of names import it."""
