"""The segmentation service: slices in, masks and segmentations out.

`loop` receives and computes, `series` is the state of one series, `masks` what was published, `submit` hands results
to the gateway. What a slice's labels are is decided in `pipeline`; feeds, buses and engines come from outside.
"""

from neuroscan_core.service.loop import EventFeed, ModelSource, SegmentationService

__all__ = ["EventFeed", "ModelSource", "SegmentationService"]
