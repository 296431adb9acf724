"""What a run leaves on disk: the run record, the names of result files, writing them whole, and what a later run may
keep.
"""
