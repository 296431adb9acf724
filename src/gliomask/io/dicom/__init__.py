"""DICOM in and out: series told apart and read as volumes; label maps written as segmentation, structure set and
report. Needs the extra `dicom`.
"""
