"""The network on an NVIDIA GPU by TensorRT: choice of file and flags, build, plan cache, runtime.

`tensorrt` and `pycuda` are imported when an engine is opened, not before; see `engine.Libraries`.
"""
