"""The guided calibration as a state machine: feed it tracked faces, show the user the prompt that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from calibration.fit import LEAST_OPEN, MOST_SHUT, fit
from puppet.expression import eye_gaps, mouth_gap, to_frontal
from puppet.headpose import frontal_rotation, rotation_vector
from puppet.types import Calibration, Landmarks

REST_S: Final = 2.0  # of good frames that each step needs
SHUT_S: Final = 1.0
OPEN_S: Final = 1.0
WHOLE_S: Final = REST_S + SHUT_S + OPEN_S
LONGEST_STEP_S: Final = 0.2  # a gap between two frames counts as no more
MOST_TURNED: Final = np.radians(25.0)

LOOK: Final = "Look into the camera, face at rest, mouth closed."
TURNED: Final = "Turn your face to the camera."
SHUT: Final = "Shut both eyes for two seconds."
OPEN: Final = "Open your mouth as wide as you can."
MISSING: Final = "No face is seen: move into the picture."
DONE: Final = "Done."


class Step(Enum):
    """What is being collected."""

    REST = "rest"
    SHUT = "shut"
    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the user should see now."""

    step: Step
    text: str
    progress: float  # 0..1 of all steps


class Collector:
    """Collects one Calibration. Only good frames count, so each step lasts until the user has done it."""

    def __init__(self) -> None:
        self._step = Step.REST
        self._rest: list[Landmarks] = []
        self._shut: list[Landmarks] = []
        self._open: list[Landmarks] = []
        self._widest = np.ones(2)  # gaps of the lids that still count as shut
        self._seconds = 0.0  # of good frames in this step
        self._time_ns: int | None = None  # of the good frame before

    def feed(self, landmarks: Landmarks | None) -> Prompt:
        """Take one frame, and say what the user should do next."""
        complaint = "" if self._step is Step.DONE else self._complaint(landmarks)
        if complaint or landmarks is None:
            self._time_ns = None
            return self._prompt(complaint)
        if self._time_ns is not None:
            self._seconds += min(max(landmarks.time_ns - self._time_ns, 0) * 1e-9, LONGEST_STEP_S)
        self._time_ns = landmarks.time_ns
        if self._step is Step.REST:
            self._rest.append(landmarks)
            if self._seconds >= REST_S:
                self._widest = MOST_SHUT * np.median([eye_gaps(to_frontal(face)) for face in self._rest], axis=0)
                self._advance(Step.SHUT)
        elif self._step is Step.SHUT:
            self._shut.append(landmarks)
            if self._seconds >= SHUT_S:
                self._advance(Step.OPEN)
        elif self._step is Step.OPEN:
            self._open.append(landmarks)
            if self._seconds >= OPEN_S:
                self._advance(Step.DONE)
        return self._prompt("")

    def calibration(self) -> Calibration:
        """What comes of it once the step is DONE; takes some 100 ms. Raises CalibrationError."""
        return fit(self._rest, self._shut, self._open)

    def _advance(self, step: Step) -> None:
        self._step, self._seconds, self._time_ns = step, 0.0, None

    def _complaint(self, landmarks: Landmarks | None) -> str:
        """Why this frame does not count; empty if it does."""
        if landmarks is None:
            return MISSING
        if np.linalg.norm(rotation_vector(frontal_rotation(landmarks))) > MOST_TURNED:
            return TURNED
        if self._step is Step.SHUT and np.any(eye_gaps(to_frontal(landmarks)) > self._widest):
            return SHUT
        if self._step is Step.OPEN and mouth_gap(to_frontal(landmarks)) < LEAST_OPEN:
            return OPEN
        return ""

    def _prompt(self, complaint: str) -> Prompt:
        before_s, text = {
            Step.REST: (0.0, LOOK),
            Step.SHUT: (REST_S, SHUT),
            Step.OPEN: (REST_S + SHUT_S, OPEN),
            Step.DONE: (WHOLE_S, DONE),
        }[self._step]
        return Prompt(self._step, complaint or text, min((before_s + self._seconds) / WHOLE_S, 1.0))
