#!/usr/bin/env bash
# Runs a command with ROS, the node's packages and its Python environment; also by hand:
#
#   docker compose exec node /opt/neuroscan/entrypoint.sh neuroscan doctor -c /etc/neuroscan/neuroscan.yaml
set -eo pipefail # without -u: the scripts of ROS read variables that nobody set

# shellcheck source=/dev/null
source "/opt/ros/$ROS_DISTRO/setup.bash"
# shellcheck source=/dev/null
source "$OVERLAY/setup.bash"
PATH=$VIRTUAL_ENV/bin:$PATH

# The launch file is loaded by the interpreter of `ros2`, which would be Ubuntu's.
if [[ $1 == ros2 ]]; then
  shift
  set -- "$VIRTUAL_ENV/bin/python3" "$(command -v ros2)" "$@"
fi
exec "$@"
