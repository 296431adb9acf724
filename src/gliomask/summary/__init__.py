"""What a study does with a cohort's results: tables, shapes, outliers, a page to look through all cases, a map of all
tumours, two runs compared.
"""
