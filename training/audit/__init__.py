"""The audit of a network: pages of pictures and figures that show how good it is, where, and when it fails.

What is measured is in `evaluate` and `metrics`; here it is drawn and explained. Pages show patients: for the people who
evaluate, never for the repository.
"""
