#!/usr/bin/env bash
# The build stage of edge.Dockerfile and jetson.Dockerfile, in a folder that holds the sources:
#
#   build.sh [EXTRAS]        EXTRAS as pip writes them, for instance [gpu]
#
# Python packages go into $VIRTUAL_ENV, because Ubuntu's own Python is not pip's to change (PEP 668). The three ROS
# packages go into $OVERLAY, built by the interpreter of that environment, so that their executables run with it.
set -eo pipefail # without -u: the scripts of ROS read variables that nobody set
extras=${1:-}

python3 -m venv --system-site-packages "$VIRTUAL_ENV"

# One process holds one NumPy, and what comes from apt (messages, TensorRT) was compiled against the first.
# From setuptools 80 on, the commands are gone by which colcon installs.
constraints=$(mktemp)
printf '%s\n' 'numpy<2' 'setuptools>=68,<80' > "$constraints"
"$VIRTUAL_ENV/bin/pip" install --no-cache-dir --constraint "$constraints" setuptools 'scikit-image>=0.22' ".$extras"
"$VIRTUAL_ENV/bin/pip" uninstall --yes neuroscan # only what it needs stays: the package itself is built below
rm -rf "$constraints" build ./*.egg-info

# shellcheck source=/dev/null
source "/opt/ros/$ROS_DISTRO/setup.bash"
PATH=$VIRTUAL_ENV/bin:$PATH "$VIRTUAL_ENV/bin/python3" "$(command -v colcon)" --log-base /dev/null build \
  --base-paths . ros_ws/src --merge-install --install-base "$OVERLAY" \
  --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$VIRTUAL_ENV/bin/python3"
ln -s "$OVERLAY/lib/neuroscan/neuroscan" "$VIRTUAL_ENV/bin/neuroscan"
