"""Between what batches hold and units of tissue; and the node's last step, for a batch on its device.

`normalise_windows` gives what `neuroscan_core.pipeline.normalise` gives for
each window by itself.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuroscan_core.pipeline.normalise import MAX_NORMALISED, MAX_ZSCORE, STATISTIC_STRIDE
from training.augment.draw import per_item


def normalise_windows(images_NCHW: Tensor) -> Tensor:
    """Scale each window by the largest tissue scale of its slices and clip: `foreground-median-v1`."""
    sample = images_NCHW[..., ::STATISTIC_STRIDE, ::STATISTIC_STRIDE].clamp(min=0.0).flatten(2)
    is_foreground = sample > sample.mean(dim=2, keepdim=True, dtype=torch.float64)
    # `nanmedian` takes the lower of two middle values, the node the upper one: hence the signs.
    medians_NC = -torch.where(is_foreground, -sample, torch.nan).nanmedian(dim=2).values
    scales_NC = medians_NC.nan_to_num(nan=0.0)
    scales_N = scales_NC.amax(dim=1)
    inverse_N = torch.where(scales_N > 0, 1.0 / scales_N.clamp(min=1e-12), 0.0)
    return (images_NCHW * per_item(inverse_N, images_NCHW)).clamp_(0.0, MAX_NORMALISED)


def tissue_of_zscores(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return z-scores in units of tissue, and the scale per item and channel that leads back.

    Air is 0 before normalisation, hence the smallest score of a plane that
    shows any; the mean of tissue has score 0. So tissue becomes 1, air 0.
    """
    scale_NC = -scores.flatten(2).amin(dim=2)
    scale_NC = scale_NC.clamp(1.0, MAX_ZSCORE)
    scale = per_item(scale_NC, scores)
    return ((scores + scale) / scale).clamp_(min=0.0), scale_NC


def zscores_of_tissue(images: Tensor, scale_NC: Tensor) -> Tensor:
    """Go back from units of tissue to z-scores, clipped as the node clips."""
    scale = per_item(scale_NC, images)
    return (images * scale - scale).clamp_(-MAX_ZSCORE, MAX_ZSCORE)
