"""The words of the field as values: geometry, volumes, segmentations, codes, model cards, events, requests and errors.

Only numpy and the standard library are imported here; nothing in this package does input or output.
"""
