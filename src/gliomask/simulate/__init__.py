"""Labelled synthetic patients: for tests, demonstrations and benchmarks where no patient data are at hand.

One forward model makes the scans and the labels: deformed tissue maps, a tumour that grows in them, the contrast of
each sequence, and the faults of a scanner. `patient.simulate_case` makes one patient in memory; `write.write_patients`
fills a BraTS folder.
"""
