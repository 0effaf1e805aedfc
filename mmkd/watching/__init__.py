"""What the Visualizer shows of both networks while they learn; optional, and only the list of hooks imports it."""
