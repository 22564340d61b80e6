"""Names and quality of service of all topics and services.

Names are relative: ``/neuroscan/slices`` by default, ``/site/neuroscan/slices`` in the namespace ``site``.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SLICES = "neuroscan/slices"
SERIES = "neuroscan/series"
MASKS = "neuroscan/masks"
SEGMENTATIONS = "neuroscan/segmentations"

IMAGE = "neuroscan/image"
OVERLAY = "neuroscan/overlay"
MASK = "neuroscan/mask"
SLICE_PLANE = "neuroscan/slice_plane"
TUMOUR_SURFACE = "neuroscan/tumour_surface"
TUMOUR_POINTS = "neuroscan/tumour_points"

REPLAY_SERIES = "neuroscan/replay_series"
LIST_SERIES = "neuroscan/list_series"
REPLAY_MASKS = "neuroscan/replay_masks"
DESCRIBE_SERIES = "neuroscan/describe_series"
RETRY_SERIES = "neuroscan/retry_series"
LIST_RESULTS = "neuroscan/list_results"
GET_SEGMENTATION = "neuroscan/get_segmentation"
GET_PROBABILITIES = "neuroscan/get_probabilities"
SUBMIT_SEGMENTATION = "neuroscan/submit_segmentation"
SUBMIT_FAILURE = "neuroscan/submit_failure"
GATEWAY_HEALTH = "neuroscan/gateway_health"
SEGMENTER_HEALTH = "neuroscan/segmenter_health"

PATIENT_FRAME = "patient_lps"  # DICOM LPS axes; what is drawn in it is in metres

SEGMENTATIONS_KEPT = 4
REQUESTS_KEPT = 64


def stream(depth: int) -> QoSProfile:
    """Slices, masks and what happens to series: reliable, `depth` kept; replays bring what a restart misses."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
    )


def latched(depth: int = 1) -> QoSProfile:
    """Results and what viewers show: reliable, the last `depth` also to those who join later."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
    )


def service() -> QoSProfile:
    """Requests and replies: reliable; as many may wait at once as a node and its viewers ask."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=REQUESTS_KEPT,
    )
