"""Engines for bundles: the files that TensorRT needs are made, engines are built, gated and timed.

Building and gate are the node's own (`neuroscan_core.inference`), so that what passes here passes there.
"""
