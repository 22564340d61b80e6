"""Programs of a deploy folder: copied as they are to devices, where NeuroScan is not installed.

They need NumPy, OpenCV and TensorRT alone and run from Python 3.6 (JetPack 4.6) on, so nothing here imports NeuroScan,
and what they have in common with the node's pipeline is written again; tests hold both against each other.
"""
