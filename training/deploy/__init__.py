"""Deploy folders: a model with all that a device needs to run it, without NeuroScan.

`folder` writes them, `samples` makes what they can be tried on, `device` holds the programs that are copied into them.
"""
