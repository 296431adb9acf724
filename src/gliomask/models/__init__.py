"""The models: what a model file says, which ones there are, and the shipped weights."""
