"""NeuroScan core: domain, pipeline, message bus, inference and the segmentation service.

DICOM networking lives in `dicom_gateway`; ROS 2 in `ros_ws/src/neuroscan_ros`. Nothing here imports either.
"""

__version__ = "0.1.0"
