"""Where the stages of a network lie, which ones belong together, and when each is learned."""
