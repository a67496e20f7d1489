"""`python -m qhyvit` is the command line."""

from qhyvit.cli import main

main()
