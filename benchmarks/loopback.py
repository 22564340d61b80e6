"""A loopback without the delayed-acknowledgement artefact.

DCMTK's client and server wait about 40 ms per image for each other on an ordinary loopback (Nagle's algorithm against
delayed ACK), which would flatter whoever they are compared with. Measurements therefore run in a network namespace of
their own whose loopback routes carry ``quickack 1``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

_INSIDE = "NEUROSCAN_BENCH_NAMESPACE"
_SETUP = """
ip link set lo up
ip route change local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1 quickack 1 table local
ip route change local 127.0.0.1 dev lo proto kernel scope host src 127.0.0.1 quickack 1 table local
exec "$@"
"""


def enter(arguments: list[str]) -> bool:
    """Run ``python arguments`` again inside such a namespace and end with its status; False where that cannot be.

    Returns
    -------
    bool
        True inside the namespace. False: not root or no iproute2; figures with DCMTK as a peer are then not fair.
    """
    if os.environ.get(_INSIDE) == "1":
        return True
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode != 0:
        return False
    command = ["unshare", "-n", "bash", "-c", _SETUP, "bench", sys.executable, *arguments]
    os.execvpe("unshare", command, {**os.environ, _INSIDE: "1"})
