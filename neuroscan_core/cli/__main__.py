"""Lets `python -m neuroscan_core.cli` do what `neuroscan` does."""

from neuroscan_core.cli import main

main()
