"""The BIDS App: a BIDS dataset of patients in, a BIDS derivative dataset of segmentations out.

It knows names, sidecars and folders of the Brain Imaging Data Structure (BIDS specification 1.10); the work itself is
`gliomask.raw_route`'s.
"""
