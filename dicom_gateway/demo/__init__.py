"""The demonstration: a node and an archive on this machine, a series sent at a scanner's pace, the result read back.

`story` tells it; `processes` starts and stops what takes part; `readback` looks at the SEG as another program would.
"""

from dicom_gateway.demo.story import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
