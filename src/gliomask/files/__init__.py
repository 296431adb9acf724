"""Files of any kind: names, whole-or-nothing writing, bounded reading of what others wrote, locks.

Nothing here knows what a scan is. Everything that reads or writes stands above this package, so that no reader can
forget a limit.
"""
