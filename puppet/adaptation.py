"""A Motion put on another face: where each landmark of a portrait goes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.expression import IRIS_CENTRES, LIDS_LOWER, LIDS_UPPER, eye_gaze
from puppet.headpose import (
    PIVOT,
    STABLE,
    frontal_rotation,
    head_size,
    rotation_matrix,
    rotation_vector,
    to_picture,
    to_space,
)
from puppet.proportions import EYE_CORNERS, travel
from puppet.types import Floats, Landmarks, Motion

Array = NDArray[np.float64]

# Of the gap that the upper lid travels when the eye shuts, column by column; less beside the corners.
UPPER_LID_SHARE: Final = np.array([0.6, 0.75, 0.82, 0.84, 0.82, 0.75, 0.6])[:, None]
LID_SKIN_FOLLOWS: Final = 0.35  # of its lid's travel
MOST_OPEN: Final = 1.35
MOST_TURN: Final = np.radians([30.0, 38.0, 45.0])  # pitch, yaw, roll of the head in the picture
LEAST_TURN: Final = 0.35 * MOST_TURN  # however far the portrait is turned already
MOST_SHIFT: Final = 0.6  # head units
MOST_LOG_SCALE: Final = 0.15
MOST_EXPRESSION: Final = 1.1  # head units; a wide-open jaw
IRIS_ROOM: Final = (0.2, 0.8)  # share of the eye's width in which the iris' centre stays
MOST_GAZE_Y: Final = 0.16  # widths of the eye
# Radius of the eyeball, 1.2 cm, in widths of the canonical eye. In 15 portraits that look at the viewer, with heads
# turned by up to 27 degrees, the irises lie within 0.03 widths (rms across, and rms down) of where this puts them.
EYEBALL: Final = 0.45

_SKIN_UPPER: Final = np.array(facemesh.LID_SKIN_UPPER)
_SKIN_LOWER: Final = np.array(facemesh.SOCKET_LOWER)
_OVAL: Final = np.array(facemesh.OVAL)
_IRIS: Final = np.array(facemesh.IRIS)
# Lip columns from left to right without the corners; rows from the skin to the gap.
_LIPS_UPPER: Final = np.array(facemesh.LIP_ROWS_UPPER)
_LIPS_LOWER: Final = np.array(facemesh.LIP_ROWS_LOWER)


def soft_limit(value: Array | float, limit: Array | float, *, free: float = 0.6) -> Array:
    """`value` itself up to `free` * `limit`, then bending smoothly so that it never passes `limit`."""
    value, limit = np.asarray(value, np.float64), np.asarray(limit, np.float64)
    start, room = free * limit, np.maximum((1.0 - free) * limit, 1e-9)
    over = np.maximum(np.abs(value) - start, 0.0)
    limited: Array = np.sign(value) * (np.minimum(np.abs(value), start) + room * np.tanh(over / room))
    return limited


def target_points(motion: Motion, portrait: Landmarks) -> Floats:
    """Where each landmark of `portrait` goes in `motion`: (478, 3) float32, px of the portrait's picture.

    A Motion at rest, or of strength 0, gives the portrait's own points. All that depends on the portrait is decided
    here: its proportions, its own expression, to which the driver's is added, and how far its head may go. In absolute
    mode the Motion holds the points themselves, already laid over the portrait by the Retargeter.
    """
    rest = portrait.points.astype(np.float64)
    if motion.absolute is not None:
        goal = motion.absolute.astype(np.float64) * portrait.width_px
        return (rest + motion.strength * (goal - rest)).astype(np.float32)
    if motion.strength <= 0.0:
        return portrait.points.copy()
    return _face(portrait).moved(motion).astype(np.float32)


@lru_cache(maxsize=4)  # a portrait is asked for again with every frame
def _face(portrait: Landmarks) -> _Face:
    return _Face(portrait)


class _Face:
    """A portrait's face in frontal axes, and the limits that it sets."""

    def __init__(self, portrait: Landmarks) -> None:
        self._portrait = portrait
        self._rest = to_space(portrait)
        self._rotation = frontal_rotation(portrait)
        self._size = head_size(self._rest)
        self._frontal = self._rest @ self._rotation
        self._travel = travel(self._frontal)
        self._gaze = eye_gaze(self._frontal).mean(axis=0)  # (2,) both eyes look one way
        oval = portrait.points[_OVAL, :2].astype(np.float64)
        edges = np.array([oval.min(axis=0), (portrait.width_px, portrait.height_px) - oval.max(axis=0)])
        self._room = np.clip(edges / self._size, 0.0, MOST_SHIFT)  # (2, 2) left and up, right and down

    def moved(self, motion: Motion) -> Array:
        s = motion.strength
        expression = s * motion.expression.astype(np.float64)
        length = np.linalg.norm(expression, axis=1, keepdims=True)
        expression = expression * soft_limit(length, MOST_EXPRESSION) / np.maximum(length, 1e-9)
        shift = expression * self._travel * self._size
        self._part_lips(shift)
        rotation = self._turned(motion)
        gaze = s * motion.gaze + s * motion.look * (self._at_viewer(rotation) - motion.gaze)
        self._move_eyes(shift, 1.0 + s * (motion.eyes - 1.0), gaze.astype(np.float64))
        posed = self._posed(self._rest + shift @ self._rotation.T, rotation @ self._rotation.T, motion)
        return to_picture(posed, self._portrait)

    def _turned(self, motion: Motion) -> Array:
        """The head's rotation from frontal axes to the picture's."""
        # The driver's turn is a difference of rotation vectors, and they add: on a turned portrait, either order of
        # multiplying rotations loses pitch or roll in one of the usual Euler conventions (r 0.5 to 0.7 with the
        # driver's in a tenth of the clips), this in none (above 0.8).
        own = rotation_vector(self._rotation)
        turn = motion.strength * rotation_vector(motion.rotation.astype(np.float64))
        turn = soft_limit(turn, np.maximum(MOST_TURN - own * np.sign(turn), LEAST_TURN))
        return rotation_matrix(own + turn)

    def _at_viewer(self, rotation: Array) -> Array:
        """(2,) shift of the irises, in widths of the eye, with which a head turned like this looks at the viewer."""
        viewer = -rotation[2]  # the way to the viewer, against the picture's z, in frontal axes
        shift: Array = EYEBALL * viewer[:2] - self._gaze
        return shift

    def _posed(self, points: Array, rotation: Array, motion: Motion) -> Array:
        """The points of the head turned by `rotation` from rest, nearer or farther and shifted."""
        scale = np.exp(soft_limit(motion.strength * np.log(motion.scale), MOST_LOG_SCALE))
        pivot = self._rest[STABLE].mean(axis=0) + self._size * self._rotation @ PIVOT
        shift = motion.strength * motion.translation.astype(np.float64)
        shift = soft_limit(shift, np.where(shift > 0.0, self._room[1], self._room[0]), free=0.4) * self._size
        moved: Array = points + (points - pivot) @ (scale * rotation - np.eye(3)).T + np.append(shift, 0.0)
        return moved

    def _part_lips(self, shift: Array) -> None:
        """Keep the upper inner lip above the lower one, column by column."""
        upper, lower = _LIPS_UPPER[-1], _LIPS_LOWER[0]
        rest = self._frontal[lower, 1] - self._frontal[upper, 1]
        gap = rest + shift[lower, 1] - shift[upper, 1]
        lacking = np.maximum(np.minimum(rest, 0.0) - gap, 0.0)
        shift[_LIPS_UPPER, 1] -= lacking / 2.0
        shift[_LIPS_LOWER, 1] += lacking / 2.0

    def _move_eyes(self, shift: Array, opening: Array, gaze: Array) -> None:
        frontal = self._frontal
        opening = np.where(opening > 1.0, 1.0 + soft_limit(opening - 1.0, MOST_OPEN - 1.0), np.maximum(opening, 0.0))
        gap = (1.0 - opening)[:, None, None] * (frontal[LIDS_LOWER] - frontal[LIDS_UPPER])
        shift[LIDS_UPPER] += UPPER_LID_SHARE * gap
        shift[LIDS_LOWER] -= (1.0 - UPPER_LID_SHARE) * gap
        shift[_SKIN_UPPER] += LID_SKIN_FOLLOWS * UPPER_LID_SHARE * gap
        shift[_SKIN_LOWER] -= LID_SKIN_FOLLOWS * (1.0 - UPPER_LID_SHARE) * gap
        corners = frontal[EYE_CORNERS]
        width = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
        place = (frontal[IRIS_CENTRES, 0] - corners[:, 0, 0]) / (corners[:, 1, 0] - corners[:, 0, 0])
        room = np.where(gaze[:, 0] > 0.0, IRIS_ROOM[1] - place, place - IRIS_ROOM[0])
        shift[_IRIS, 0] += (soft_limit(gaze[:, 0], np.maximum(room, 0.02)) * width)[:, None]
        shift[_IRIS, 1] += (soft_limit(gaze[:, 1], MOST_GAZE_Y) * width)[:, None]
