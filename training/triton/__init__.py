"""Serving bundles from a Triton Inference Server: the model repository, and a server to try it on.

`repository` writes what a server reads, `server` runs one on this machine, `onnx_backend` stands in for Triton's ONNX
Runtime backend where only the bare server is installed. The node's side is `neuroscan_core.inference.triton`.
"""
