"""Pictures that show the same: perceptual hashes, and clusters of them.

The hash is the sign pattern of the low frequencies of a discrete cosine
transform (pHash, Zauner 2010), here of 16 x 16 coefficients, since heads look
alike in fewer. It survives another size, JPEG and brightness, not rotation.
What is done with clusters when a set is divided is in `splits`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from training.data.cache import ArrayCache, CachedCase
from training.data.cases import PICTURES

#: Bits of 256 up to which two pictures count as the same. Of random pairs looked at in each range of distances, all up
#: to 52 showed one person (another window, a neighbouring slice, a mirrored contrast); from 54 to 60 most did and
#: others began; from 64 on clusters grow into one another (largest of 1600 pictures: 34 at 60, 89 at 64, 750 at 72).
#: Joining too much costs freedom in dividing, joining too little makes test figures worthless: 60.
PICTURE_THRESHOLD = 60
#: The same for volumes, mean of four slices each. The nearest of 89 different patients are 58 apart. A volume stored
#: in 8 bits, bent by a gamma of 1.4, zoomed by 3 %, turned by 2 degrees, moved by 2 pixels or by 2 slices stays within
#: 36 of itself; zoomed by 5 % or moved by 5 pixels it may reach 61, so those are not found.
VOLUME_THRESHOLD = 40
#: Where the compared slices stand in a stack.
HEIGHTS = (0.35, 0.45, 0.55, 0.65)
THUMBNAIL = 64
NUM_FREQUENCIES = 16
NUM_BITS = NUM_FREQUENCIES * NUM_FREQUENCIES


def perceptual_hash(image_HW: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return the hash of a picture or slice: `NUM_BITS` bits in bytes.

    Parameters
    ----------
    image_HW : numpy.ndarray
        Grey values, any real dtype.
    """
    small = cv2.resize(image_HW.astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:NUM_FREQUENCIES, :NUM_FREQUENCIES].ravel()
    return np.packbits(low > np.median(low[1:]))


def distances(hashes_NB: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return the Hamming distances of all pairs, [N, N]."""
    bits = np.unpackbits(hashes_NB, axis=1).astype(np.float32)
    agreements = bits @ bits.T + (1 - bits) @ (1 - bits).T
    return np.rint(bits.shape[1] - agreements).astype(np.uint16)


def clusters(num: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Join what is connected by pairs (union-find); sorted lists of indices, singles included."""
    parent = list(range(num))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for n, m in pairs:
        low, high = sorted((root(n), root(m)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for n in range(num):
        members.setdefault(root(n), []).append(n)
    return list(members.values())


def case_distances(cache: ArrayCache, cases: Sequence[CachedCase]) -> npt.NDArray[np.float64]:
    """Return the distances of all pairs of cases, [N, N]: of volumes the mean over slices at the same heights."""
    heights = (0.0,) if cache.view == PICTURES else HEIGHTS
    channel = cache.images_SCHW.shape[1] - 1
    planes = []
    for height in heights:
        indices = [case.start + int(height * (case.num_slices - 1)) for case in cases]
        planes.append(distances(np.stack([perceptual_hash(cache.images_SCHW[n, channel]) for n in indices])))
    return np.asarray(np.mean(planes, axis=0))


def near_duplicates(
    cache: ArrayCache, cases: Sequence[CachedCase], threshold: float | None = None
) -> list[tuple[int, int]]:
    """List the pairs (n, m), n < m, of cases that show the same; indices in `cases`.

    Parameters
    ----------
    threshold : float, optional
        By default `PICTURE_THRESHOLD` or `VOLUME_THRESHOLD`.
    """
    if threshold is None:
        threshold = PICTURE_THRESHOLD if cache.view == PICTURES else VOLUME_THRESHOLD
    near = np.triu(case_distances(cache, cases) <= threshold, k=1)
    return [(int(n), int(m)) for n, m in np.argwhere(near)]
