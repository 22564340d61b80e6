"""The NeuroScan node under ROS 2; the only package that imports `rclpy`."""
