"""`python -m gliomask`, for environments whose scripts are not on the path."""

from gliomask.cli.main import main

main()
