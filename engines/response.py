"""How what surrounds a face responds to the head's motion, by the rig that a network made of its portrait.

Hair, neck and shoulders have no landmarks. The warp engine lets them turn with the head as a shell of one depth; how
much further each place goes depends on what is there: a fringe, a bun, a collar. It is taken to be linear in the head's
change, so that a frame needs no more of it than one product of two small matrices.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from engines.geometry import COARSE_PX, SIDE_PX, Crop
from puppet import facemesh
from puppet.headpose import Similarity
from puppet.types import Floats

CELLS: Final = 16  # of a rig, along each side of the square
CHANGES: Final = 6  # that `head_change` tells
_UNITS: Final = np.array([0.15, 0.08, 0.08, 0.04, 0.12, 0.08])  # as large as each is in clips
_FARTHEST: Final = 4.0  # units, further than which no clip goes


def head_change(head: Similarity, portrait: Floats) -> Floats:
    """(CHANGES,): the motion `head` (3-D) of landmarks `portrait` (478, 3), in units as large as it is in clips.

    What depth adds to x and to y, the turn in the picture, the growth, and the shift along x and y in face sizes.
    """
    oval = portrait[list(facemesh.OVAL), :2]
    middle = portrait[list(facemesh.SKULL)].astype(float).mean(axis=0)
    shift = (head(middle[None])[0] - middle)[:2] / np.ptp(oval, axis=0).mean()
    turned = head.rotation
    change = np.array([head.scale * turned[0, 2], head.scale * turned[1, 2], turned[0, 1], head.scale - 1, *shift])
    return np.clip(change / _UNITS, -_FARTHEST, _FARTHEST).astype(np.float32)


def silhouette_depth(points: Floats) -> float:
    """Of landmarks (478, 3): where the ears are, and what is seen of a head from afar."""
    return float(np.percentile(points[list(facemesh.OVAL), 2], 90))


def turned_from(head: Similarity, portrait: Floats) -> Floats:
    """(COARSE_PX, COARSE_PX, 2) px: where in the portrait lies what is seen at each place once the head has moved.

    If it is as deep as the silhouette; `head` and landmarks `portrait` (478, 3) are px of the square.
    """
    across = head.scale * head.rotation[:2, :2]
    ahead = head.scale * head.rotation[:2, 2] * silhouette_depth(portrait) + head.shift[:2]
    middle = (np.arange(COARSE_PX) + 0.5) * (SIDE_PX / COARSE_PX) - 0.5
    places = np.stack(np.meshgrid(middle, middle), axis=-1)
    return np.asarray((places - ahead) @ np.linalg.inv(across).T, np.float32)


def responses(rig: Floats, places: Floats, crop: Crop) -> Floats:
    """(N, CHANGES, 2) px: how far each of `places` (N, 2) px of the picture goes, per unit of the head's change.

    `rig` is (2 * CHANGES, CELLS, CELLS), in px of the square that `crop` cuts.
    """
    square = (places - np.array([crop.left, crop.top], np.float32) + 0.5) * (SIDE_PX / crop.side)
    cells = (square * (CELLS / SIDE_PX) - 0.5).astype(np.float32)
    found = cv2.remap(
        np.ascontiguousarray(rig.transpose(1, 2, 0), np.float32),
        cells[None],
        np.empty((0, 0), np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found.reshape(-1, CHANGES, 2) * (crop.side / SIDE_PX), np.float32)
