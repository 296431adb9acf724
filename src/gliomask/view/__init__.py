"""Looking at a case and its result in a browser, served on this computer or as one HTML file; corrections kept for
training.
"""
