"""A network over a whole brain: tiles, the order in which they are computed, mirror images, a second network."""
