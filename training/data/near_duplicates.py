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


def close_pairs(hashes_NB: npt.NDArray[np.uint8], threshold: int) -> list[tuple[int, int]]:
    """List the pairs (n, m), n < m, whose hashes differ in at most `threshold` bits."""
    near = np.triu(distances(hashes_NB) <= threshold, k=1)
    return [(int(n), int(m)) for n, m in np.argwhere(near)]


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


def hashes_of(images: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.uint8]:
    """Return the hashes of several pictures, [N, bytes]."""
    return np.stack([perceptual_hash(image) for image in images])
