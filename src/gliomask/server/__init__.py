"""A server for a team: uploads or DICOM studies in, a queue of jobs, results as files, pages, DICOM objects and JSON.

Needs the extra `serve`. Every job runs in a process of its own, in a folder of its own; no name from a client becomes
a path. Research software,
not a medical device.
"""
