"""The segmentation service: slices in, masks and segmentations out.

`loop` receives and computes, `series` is the state of one series, `study` segments several series of one study, `masks`
is what was published, `submit` hands results to the gateway. What a slice's labels are is decided in `pipeline`; feeds,
buses and engines come from outside.
"""

from neuroscan_core.service.loop import EventFeed, SegmentationService
from neuroscan_core.service.models import ModelSource

__all__ = ["EventFeed", "ModelSource", "SegmentationService"]
