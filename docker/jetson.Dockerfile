# The node under ROS 2 Humble for a Jetson with JetPack 6, on its GPU with TensorRT. Without a GPU: edge.Dockerfile.
#
#   docker build -t neuroscan-jetson -f docker/jetson.Dockerfile .              # on the Jetson, root of the checkout
#   docker run --rm --init --stop-timeout 45 --runtime nvidia \
#       --group-add video --group-add "$(getent group render | cut -d: -f3)" \
#       -p 11112:11112 -p 127.0.0.1:8080:8080 -v neuroscan-state:/var/lib/neuroscan \
#       -v "$PWD/neuroscan.yaml:/etc/neuroscan/neuroscan.yaml:ro" neuroscan-jetson
#
# neuroscan.yaml as in edge.Dockerfile. The first start builds the TensorRT plans, which takes minutes; they are kept on
# the volume of the state, in engines/.
#
# From JetPack's image come CUDA 12.6, cuDNN and TensorRT 10.3 with its Python module: PyPI has no TensorRT for the GPU
# of a Jetson. From the device itself come driver and device nodes, brought in by `--runtime nvidia`. It is Ubuntu 22.04
# with Python 3.10, whose ROS is Humble. Only pycuda is compiled, against this CUDA.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0 AS ros

ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 LC_ALL=C.UTF-8 ROS_DISTRO=humble
ADD --checksum=sha256:767884cf4ed03116b9d64438930a832ed854147ae435279a7924dfdf60f94433 \
    https://github.com/ros-infrastructure/ros-apt-source/releases/download/1.2.0/ros2-apt-source_1.2.0.jammy_all.deb \
    /tmp/ros2-apt-source.deb
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates /tmp/ros2-apt-source.deb \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        ros-humble-rmw-cyclonedds-cpp ros-humble-ros-core ros-humble-tf2-msgs \
    && rm -rf /var/lib/apt/lists/* /tmp/ros2-apt-source.deb


FROM ros AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential python3-colcon-common-extensions python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/neuroscan/venv OVERLAY=/opt/neuroscan/overlay CUDA_ROOT=/usr/local/cuda \
    PATH=/usr/local/cuda/bin:$PATH
WORKDIR /opt/neuroscan/src
COPY pyproject.toml setup.py setup.cfg package.xml README.md LICENSE NOTICE ./
COPY docker/ros/build.sh docker/ros/build.sh
COPY resource resource
COPY config config
COPY launch launch
COPY ros_ws/src ros_ws/src
COPY dicom_gateway dicom_gateway
COPY neuroscan_core neuroscan_core
RUN docker/ros/build.sh '[gpu]'


FROM ros

# The device nodes of the GPU belong to the groups video and render; the number of the latter is the device's own, so
# both are given at start.
RUN useradd --uid 10001 --no-create-home neuroscan \
    && install -d -m 750 -o 10001 -g 10001 /var/lib/neuroscan

COPY docker/ros/entrypoint.sh /opt/neuroscan/entrypoint.sh
COPY --from=build /opt/neuroscan/venv /opt/neuroscan/venv
COPY --from=build /opt/neuroscan/overlay /opt/neuroscan/overlay

# As in edge.Dockerfile; ROS_LOCALHOST_ONLY is what Humble has for the discovery range.
ENV VIRTUAL_ENV=/opt/neuroscan/venv OVERLAY=/opt/neuroscan/overlay HOME=/tmp ROS_LOG_DIR=/tmp/ros-log \
    PYTHONUNBUFFERED=1 RMW_IMPLEMENTATION=rmw_cyclonedds_cpp ROS_LOCALHOST_ONLY=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER 10001:10001
WORKDIR /var/lib/neuroscan
VOLUME /var/lib/neuroscan
EXPOSE 11112 8080
STOPSIGNAL SIGINT

HEALTHCHECK --interval=15s --timeout=5s --start-period=900s CMD ["python3", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]

ENTRYPOINT ["/opt/neuroscan/entrypoint.sh"]
CMD ["ros2", "launch", "--noninteractive", "neuroscan", "edge.launch.py", "config:=/etc/neuroscan/neuroscan.yaml", \
    "engine:=tensorrt"]
