# The node under ROS 2 Jazzy, on the processor, for x86-64 and aarch64. With the GPU of a Jetson: jetson.Dockerfile.
#
#   docker build -t neuroscan-edge -f docker/edge.Dockerfile .                  # from the root of the checkout
#   docker run --rm --init --stop-timeout 45 -p 11112:11112 -p 127.0.0.1:8080:8080 \
#       -v neuroscan-state:/var/lib/neuroscan -v "$PWD/neuroscan.yaml:/etc/neuroscan/neuroscan.yaml:ro" neuroscan-edge
#
# In neuroscan.yaml: state_dir: /var/lib/neuroscan, viewer: {host: 0.0.0.0, auth: {token_file:
# /var/lib/neuroscan/viewer-token}}. The token for the login is made there. The state must be on a volume: it holds what
# was acknowledged and not yet delivered. With an archive and a viewer around it: compose.yaml.
FROM ros:jazzy-ros-base-noble AS build

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/neuroscan/venv OVERLAY=/opt/neuroscan/overlay
WORKDIR /opt/neuroscan/src
COPY pyproject.toml setup.py setup.cfg package.xml README.md LICENSE NOTICE ./
COPY docker/ros/build.sh docker/ros/build.sh
COPY resource resource
COPY config config
COPY launch launch
COPY ros_ws/src ros_ws/src
COPY dicom_gateway dicom_gateway
COPY neuroscan_core neuroscan_core
RUN docker/ros/build.sh


# No compilers, no colcon; the packages that ros-core lacks. What of package.xml is Python comes with the environment.
FROM ros:jazzy-ros-core-noble

RUN apt-get update \
    && apt-get install -y --no-install-recommends ros-jazzy-rmw-cyclonedds-cpp ros-jazzy-tf2-msgs \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home neuroscan \
    && install -d -m 750 -o 10001 -g 10001 /var/lib/neuroscan

COPY docker/ros/entrypoint.sh /opt/neuroscan/entrypoint.sh
COPY --from=build /opt/neuroscan/venv /opt/neuroscan/venv
COPY --from=build /opt/neuroscan/overlay /opt/neuroscan/overlay

# Nothing outside /tmp and the state is written: the root file system may be read-only. Topics carry pixels and have no
# passwords, so they stay inside the container unless ROS_AUTOMATIC_DISCOVERY_RANGE says otherwise.
ENV VIRTUAL_ENV=/opt/neuroscan/venv OVERLAY=/opt/neuroscan/overlay HOME=/tmp ROS_LOG_DIR=/tmp/ros-log \
    PYTHONUNBUFFERED=1 RMW_IMPLEMENTATION=rmw_cyclonedds_cpp ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST

USER 10001:10001
WORKDIR /var/lib/neuroscan
VOLUME /var/lib/neuroscan
EXPOSE 11112 8080
# At SIGTERM `ros2 launch` leaves its processes behind; at SIGINT, without a terminal, it stops them in order.
STOPSIGNAL SIGINT

HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python3", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]

ENTRYPOINT ["/opt/neuroscan/entrypoint.sh"]
CMD ["ros2", "launch", "--noninteractive", "neuroscan", "edge.launch.py", "config:=/etc/neuroscan/neuroscan.yaml"]
