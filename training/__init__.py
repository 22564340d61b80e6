"""Makes the networks that the node runs: data, training, evaluation, export.

Nothing here is imported by `neuroscan_core` or `dicom_gateway`; the two meet
only in a model bundle (`model.onnx` + `model.yaml`).
"""
