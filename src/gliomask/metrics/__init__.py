"""Scores of a prediction against a reference; arrays in, numbers out."""
