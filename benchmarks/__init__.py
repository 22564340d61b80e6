"""Measurements against peers: `make bench` runs them all, prints one table and writes `build/bench.json`."""
