"""The status page: what the node is doing, its health and its metrics, over HTTP.

It reads the bus and nothing else: no DICOM, no journal, no files. What it shows after a restart is what the gateway
and the segmenter tell it again.
"""
