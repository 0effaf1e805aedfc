"""One HTML file about runs: read from their work dirs, measured with their checkpoints, drawn."""
