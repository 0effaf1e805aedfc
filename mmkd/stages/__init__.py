"""The stages of a network: where they lie, which belong together, and when each is learned."""
