"""From a tracked face to the Motion that any portrait can follow: retargeting, smoothing, easing."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from puppet import canonical
from puppet.adaptation import target_points
from puppet.expression import ExpressionReader, Reading
from puppet.headpose import STABLE, Similarity, fit_similarity, head_size, rotation_matrix, rotation_vector
from puppet.idle import Blinks, sway
from puppet.neutral import neutral_of, with_ranges_of
from puppet.smoothing import OneEuro, Smoothness, smoothstep
from puppet.types import LANDMARK_COUNT, Calibration, Controls, Landmarks, Motion

__all__ = ["Mode", "Retargeter", "head_size", "neutral_of", "target_points"]

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Mode = Literal["relative", "absolute"]

NEUTRAL_S: Final = 1.0  # of seen face from which a live driver's rest is taken
HOLD_S: Final = 0.5  # a lost face keeps its last Motion this long,
EASE_OUT_S: Final = 1.0  # then takes this long to the portrait's rest;
EASE_IN_S: Final = 0.4  # and a face found again, or a new rest, at most this long to its own Motion;
EASE_IN_PER_AWAY: Final = 3.0  # after an instant's loss no more than three times that instant
LONGEST_STEP_S: Final = 0.5  # between two frames; a longer gap counts as this, a stamp that falls as none

POSE: Final = Smoothness(rest_hz=1.5, per_speed=25.0)  # radians and head units per second
EXPRESSION: Final = Smoothness(rest_hz=2.0, per_speed=40.0)  # head units per second
EYES: Final = Smoothness(rest_hz=3.0, per_speed=8.0)  # openings and eye widths per second
POINTS: Final = Smoothness(rest_hz=12.0, per_speed=200.0)  # head units per second; lag would cost accuracy

HIDDEN, SEEN = 0.3, 0.6  # eye openings between which the iris comes to be believed; a closed eye's gaze is held

OVERLAID: Final = 0.15  # head units, 6 % of a face: so near, the first tracked face lies over the portrait's own

REST: Final = Motion(
    rotation=np.eye(3, dtype=np.float32),
    translation=np.zeros(2, np.float32),
    scale=1.0,
    expression=np.zeros((LANDMARK_COUNT, 3), np.float32),
    eyes=np.ones(2, np.float32),
    gaze=np.zeros((2, 2), np.float32),
    strength=0.0,
)


def _mix(a: Motion, b: Motion, u: float) -> Motion:
    """From `a` (u = 0) to `b` (u = 1); what has no strength has no say in the mixture's content."""
    strength = (1.0 - u) * a.strength + u * b.strength
    v = u * b.strength / strength if strength > 0.0 else u
    turn = rotation_vector(b.rotation.astype(np.float64) @ a.rotation.T)
    absolute = b.absolute if a.absolute is None else a.absolute
    if a.absolute is not None and b.absolute is not None:
        absolute = ((1.0 - v) * a.absolute + v * b.absolute).astype(np.float32)
    return replace(
        b,
        rotation=(rotation_matrix(v * turn) @ a.rotation).astype(np.float32),
        translation=((1.0 - v) * a.translation + v * b.translation).astype(np.float32),
        scale=a.scale ** (1.0 - v) * b.scale**v,
        expression=((1.0 - v) * a.expression + v * b.expression).astype(np.float32),
        eyes=((1.0 - v) * a.eyes + v * b.eyes).astype(np.float32),
        gaze=((1.0 - v) * a.gaze + v * b.gaze).astype(np.float32),
        look=(1.0 - v) * a.look + v * b.look,
        absolute=absolute,
        strength=strength,
    )


def _switches(controls: Controls) -> tuple[bool, ...]:
    return controls.freeze, controls.auto_blink, controls.look_at_camera, controls.idle


class Retargeter:
    """Turns one driver's tracked faces, in the order of time, into Motions. Belongs to one thread.

    `controls`, `calibration` and `portrait` may be assigned between calls; sliders act at once, switches ease in, of
    which absolute mode knows only `freeze`. Relative mode needs a Calibration:
    without one it is taken from the first second, during which the portrait rests. Absolute mode knows none; it
    needs `portrait`, the landmarks of the picture to be animated: if the driver's first face lies over that one, the
    points go over as fractions of the picture's width, otherwise by the similarity that lays the first face over it.
    """

    def __init__(
        self,
        *,
        mode: Mode = "relative",
        calibration: Calibration | None = None,
        controls: Controls = Controls(),  # noqa: B008 - frozen
        portrait: Landmarks | None = None,
    ) -> None:
        self.mode: Final = mode
        self._controls = controls
        self._pose, self._expression, self._eyes = OneEuro(POSE), OneEuro(EXPRESSION), OneEuro(EYES)
        self._points = OneEuro(POINTS)
        self._gaze = np.zeros((2, 2))  # the last that was seen
        self._blinks = Blinks()
        self._stamp_ns: int | None = None  # the last time_ns
        self._now_ns = 0  # our own clock: time_ns without its jumps
        self._lost_ns: int | None = None
        self._held = self._shown = self._from = REST
        self._from_ns: int | None = None  # when the running transition from `_from` began,
        self._ease_s = EASE_IN_S  # and how long it takes
        self._samples: list[tuple[int, Landmarks]] | None = None
        self._reader: ExpressionReader | None = None
        self._portrait = portrait
        self._overlay: Similarity | None = None  # lays the driver over the portrait, in picture widths
        self._calibration = calibration
        if calibration is None:
            self.recalibrate()
        else:
            self._reader = ExpressionReader(calibration)

    @property
    def controls(self) -> Controls:
        """Sliders and switches."""
        return self._controls

    @controls.setter
    def controls(self, controls: Controls) -> None:
        if _switches(controls) != _switches(self._controls):
            self._ease_in()
        self._controls = controls

    @property
    def calibration(self) -> Calibration | None:
        """The driver's rest and ranges; None until it is known."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        self._calibration, self._samples = calibration, None
        self._reader = ExpressionReader(calibration)
        self._ease_in()

    @property
    def portrait(self) -> Landmarks | None:
        """The face that absolute mode lays the driver over."""
        return self._portrait

    @portrait.setter
    def portrait(self, portrait: Landmarks | None) -> None:
        self._portrait, self._overlay = portrait, None

    def recalibrate(self) -> None:
        """Take the rest anew from the next second; until then the old one, if any, stays in force.

        The ranges of eyes and mouth stay as they were measured.
        """
        self._samples = []

    def __call__(self, landmarks: Landmarks | None, *, index: int, time_ns: int) -> Motion:
        """The Motion of one frame. None is a lost face: its Motion is held a while, then eased to rest or idling."""
        step_ns = 0 if self._stamp_ns is None else min(max(time_ns - self._stamp_ns, 0), int(LONGEST_STEP_S * 1e9))
        self._stamp_ns, self._now_ns = time_ns, self._now_ns + step_ns
        goal = self._lost() if landmarks is None else self._found(landmarks)
        if self._controls.freeze:
            goal = self._shown  # all else goes on, so that thawing needs no time to find itself
        elif self._from_ns is not None:
            eased_s = (self._now_ns - self._from_ns) * 1e-9
            u = float(smoothstep(eased_s / self._ease_s)) if self._ease_s > 0.0 else 1.0
            goal = _mix(self._from, goal, u)
            if u >= 1.0:
                self._from_ns = None
        self._shown = replace(goal, index=index, time_ns=time_ns)
        return self._shown

    def _ease_in(self, seconds: float = EASE_IN_S) -> None:
        self._from, self._from_ns, self._ease_s = self._shown, self._now_ns, seconds
        for smoother in (self._pose, self._expression, self._eyes, self._points):
            smoother.reset()

    def _lost(self) -> Motion:
        if self._lost_ns is None:
            self._lost_ns = self._now_ns
        away_s = (self._now_ns - self._lost_ns) * 1e-9
        kept = 1.0 - float(smoothstep((away_s - HOLD_S) / EASE_OUT_S))
        if self._controls.idle and self.mode == "relative":
            return _mix(self._idle(), self._held, kept)
        return replace(self._held, strength=self._held.strength * kept)

    def _idle(self) -> Motion:
        pose = sway(self._now_ns)
        return replace(
            REST,
            rotation=rotation_matrix(pose[:3]).astype(np.float32),
            translation=pose[3:5].astype(np.float32),
            scale=float(np.exp(pose[5])),
            eyes=np.full(2, self._blinks(self._now_ns), np.float32),
            look=float(self._controls.look_at_camera),
            strength=1.0,
        )

    def _found(self, landmarks: Landmarks) -> Motion:
        if self._lost_ns is not None:
            away_s = (self._now_ns - self._lost_ns) * 1e-9
            self._lost_ns = None
            self._ease_in(min(EASE_IN_PER_AWAY * away_s, EASE_IN_S))
        if self.mode == "absolute":
            self._held = self._overlaid(landmarks)
            return self._held
        self._collect(landmarks)
        self._held = REST if self._reader is None else self._smooth(self._reader(landmarks))
        return self._held

    def _collect(self, landmarks: Landmarks) -> None:
        if self._samples is None:
            return
        self._samples.append((self._now_ns, landmarks))
        if self._now_ns - self._samples[0][0] >= NEUTRAL_S * 1e9:
            calibration = neutral_of([face for _, face in self._samples])
            self.calibration = with_ranges_of(self._calibration, calibration) if self._calibration else calibration

    def _smooth(self, reading: Reading) -> Motion:
        now, c = self._now_ns, self._controls
        amount = c.smoothing
        pose = np.concatenate([reading.rotation, reading.translation, [reading.log_scale]])
        pose = c.head * self._pose(pose, time_ns=now, amount=amount)
        lower, upper = canonical.LOWER_FACE[:, None], canonical.UPPER_FACE[:, None]
        gains = 1.0 + (c.mouth - 1.0) * lower + (c.brows - 1.0) * upper
        expression = gains * self._expression(reading.expression, time_ns=now, amount=amount)
        seen = smoothstep((reading.eyes.mean() - HIDDEN) / (SEEN - HIDDEN))
        self._gaze = self._gaze + seen * (reading.gaze - self._gaze)
        eyes = self._eyes(np.concatenate([reading.eyes, self._gaze.ravel()]), time_ns=now, amount=amount)
        openings = np.maximum(1.0 + c.eyes * (eyes[:2] - 1.0), 0.0)
        if c.auto_blink:
            openings = self._blinks(now, eyes=float(openings.min())) * openings
        return Motion(
            rotation=rotation_matrix(pose[:3]).astype(np.float32),
            translation=pose[3:5].astype(np.float32),
            scale=float(np.exp(pose[5])),
            expression=expression.astype(np.float32),
            eyes=openings.astype(np.float32),
            gaze=(c.gaze * eyes[2:].reshape(2, 2)).astype(np.float32),
            look=float(c.look_at_camera),
        )

    def _overlaid(self, landmarks: Landmarks) -> Motion:
        points = landmarks.points.astype(np.float64) / landmarks.width_px
        if self._overlay is None:
            self._overlay = self._lay(points)
        size = head_size(points)
        points = size * self._points(points / size, time_ns=self._now_ns, amount=self._controls.smoothing)
        flat = self._overlay(points[:, :2])
        depth = self._overlay.scale * points[:, 2:]
        return replace(REST, absolute=np.hstack([flat, depth]).astype(np.float32), strength=1.0)

    def _lay(self, points: Array) -> Similarity:
        """The driver's first face over the portrait's, in picture widths: as it is where they coincide."""
        unchanged = Similarity(1.0, np.eye(2), np.zeros(2))
        if self._portrait is None:
            return unchanged
        goal = self._portrait.points.astype(np.float64) / self._portrait.width_px
        distance = np.linalg.norm((points - goal)[:, :2], axis=1).mean()
        if distance < OVERLAID * head_size(goal):
            return unchanged
        logger.info("The driving face does not lie over the portrait's: it is moved and scaled to cover it.")
        return fit_similarity(points[STABLE, :2], goal[STABLE, :2])
