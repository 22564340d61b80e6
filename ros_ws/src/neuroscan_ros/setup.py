"""The ament_python package of the nodes."""

from setuptools import find_packages, setup

package_name = "neuroscan_ros"

setup(
    name=package_name,
    version="0.1.0",
    description="The NeuroScan node under ROS 2",
    license="Apache-2.0",
    packages=find_packages(include=[package_name, f"{package_name}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    zip_safe=True,
    extras_require={"test": ["pytest"]},  # by which colcon knows how to run the tests
    entry_points={
        "console_scripts": [
            "bridge_node = neuroscan_ros.bridge_node:main",
            "gateway_node = neuroscan_ros.gateway_node:main",
            "graph = neuroscan_ros.graph:main",
            "segmentation_node = neuroscan_ros.segmentation_node:main",
            "snapshot = neuroscan_ros.snapshot:main",
            "viewer_node = neuroscan_ros.viewer_node:main",
        ]
    },
)
