"""Limits of the critic, each beside what was seen.

Seen were 76 heads with expert masks: 27 of BraTS (skull-stripped) and 49 of the LGG set (with skull), and what the
FLAIR network marks in them. Some of these patients had served its training, so agreement and entropy are a little
better here than elsewhere. Over them the true Dice follows the least Dice of mirrored views (Spearman 0.74) and the
entropy (-0.82): where mirrored views agree by less than 0.8 the median of the true Dice is 0.66, at 0.95 and more 0.90.
"""

from __future__ import annotations

MIN_SNR = 10.0  # 16 and more
MAX_CLIPPED = 0.01  # of the tissue; 0 to 0.003
MAX_GHOST = 0.03  # of the signal; 0.001 to 0.018
MIN_LEVELS = 32  # 62 and more
MAX_ANISOTROPY = 8.0  # 6 mm slices of 0.9 mm pixels: 7
MIN_HEAD_HEIGHT_MM = 90.0  # a brain is 120 to 146 mm high

# Below the first there is doubt, below the second the result must not be used.
DICE_OF_VIEWS = (0.8, 0.5)  # least Dice of a view with the mean of all; 0.34 to 0.99
DICE_OF_MODELS = (0.7, 0.3)  # see the cards: on test patients each model's own Dice with experts is 0.76 to 0.87
MAX_ENTROPY = 0.45  # bit; 0.07 to 0.78, the median 0.19

# Above the first there is doubt, above the second the result must not be used.
MAX_OUTSIDE = (0.02, 0.3)  # share of the finding outside the head; masks of experts up to 0.012
MAX_SHARE = (0.2, 0.4)  # of the head; masks of experts up to 0.17

MAX_VOLUME_ML = 250.0
MIN_VOLUME_ML = 0.5
MAX_PARTS = 5  # 1 to 4
MIN_TOUCHING = 20  # voxels in the outermost slice, row or column
MIN_CONTRAST = 1.1  # median of the finding over that of other tissue, on FLAIR; masks of experts 1.10 to 2.36
MIN_PROBABILITY_TO_CONTRADICT = 0.9  # of the classifier
