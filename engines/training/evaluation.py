"""How good an engine is: every clip's first frame as portrait, its later frames as driver, beside the true frames.

With T shots, the portrait has T - 1 further frames of the clip, none of which is judged.
The portrait lies over the clip pixel for pixel (absolute motion), so the driver's landmarks are the targets. The
engine's video is tracked anew, in order, and so are the true frames at the same cadence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.geometry import SIDE_PX, Crop
from engines.training import metrics
from engines.training.clips import Clip, DataError, read, shots
from engines.training.identity import IdentityNet, identity_similarity
from engines.training.perceptual import PerceptualNet
from engines.training.shots import with_shots
from puppet.matting import person_matte, still_background
from puppet.tracking import FaceTracker
from puppet.types import Engine, Floats, Frame, Image, Landmarks, Motion, Portrait

STEP: Final = 10  # of the driver's frames, one is judged
MOST_FRAMES: Final = 20  # of a clip
CADENCE_NS: Final = 400_000_000  # between judged frames, for the tracker's clock
SHORTEST_SHOT: Final = 2 * STEP + 1

Painter = Callable[[Floats], Image]  # landmarks (478, 3) px of the portrait -> the picture


@dataclass(frozen=True, slots=True)
class Score:
    """One clip's figures, means over its judged frames; correlations are not numbers where the face keeps still."""

    clip: str
    frames: int
    lost: int  # frames in which no face was found again
    psnr: float  # dB
    ssim: float
    lpips: float  # AlexNet
    lpips_static: float  # of doing nothing
    landmarks_px: float  # at 256 px
    mouth: float
    eyes: float
    gaze: float
    yaw: float
    pitch: float
    roll: float
    identity: float  # dlib's cosine with the portrait,
    identity_true: float  # and that of the true frames


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over clips (correlations: medians), and the Fréchet distance over all frames together."""

    engine: str
    clips: int
    psnr: float
    ssim: float
    lpips: float
    lpips_ratio: float  # to static, of the means
    fid_vgg16: float
    landmarks_px: float
    mouth: float
    eyes: float
    gaze: float
    yaw: float
    pitch: float
    roll: float
    identity_ratio: float  # to that of the true frames


class Judge:
    """Holds the networks that compare; one for all engines."""

    def __init__(self) -> None:
        self._alexnet = PerceptualNet.load("alexnet")
        self._vgg16 = PerceptualNet.load("vgg16")
        self._identity = IdentityNet()

    def clips(
        self, name: str, painter: Callable[[Portrait], Painter], clips: Sequence[Clip], *, shots: int = 1
    ) -> tuple[Summary, list[Score]]:
        """Judge an engine on all clips that show one face for long enough, made of `shots` pictures of each."""
        scores, features = [], []
        for clip in clips:
            drawn = _draw(clip, painter, shots)
            if drawn is not None:
                scores.append(self._score(clip, drawn))
                features.append([metrics.vgg_features(images, self._vgg16) for images in (drawn.painted, drawn.true)])
        if not scores:
            raise DataError("None of the clips shows a face that can be followed; give clips of one face each.")
        painted, true = (np.concatenate(part) for part in zip(*features, strict=True))
        return _summary(name, scores, metrics.fid(painted, true)), scores

    def _score(self, clip: Clip, drawn: _Drawn) -> Score:
        tracked, true = _retracked(drawn.portrait.image, drawn.painted), _retracked(drawn.portrait.image, drawn.true)
        both = [k for k, (a, b) in enumerate(zip(tracked, true, strict=True)) if a is not None and b is not None]
        ours, theirs = [tracked[k] for k in both], [true[k] for k in both]
        points = [np.stack([face.points for face in faces if face]) for faces in (ours, theirs)]
        angles = [metrics.head_angles(np.stack([face.pose for face in faces if face])) for faces in (ours, theirs)]
        portrait = self._identity.describe(drawn.portrait.image, drawn.portrait.landmarks.points)
        described = [
            np.stack(
                [self._identity.describe(images[k], face.points) for k, face in zip(both, faces, strict=True) if face]
            )
            for images, faces in ((drawn.painted, ours), (drawn.true, theirs))
        ]
        still = np.repeat(drawn.portrait.image[None], len(drawn.true), axis=0)
        turns = [metrics.correlation(angles[0][:, axis], angles[1][:, axis]) for axis in range(3)]
        return Score(
            clip=clip.name,
            frames=len(drawn.true),
            lost=len(drawn.true) - len(both),
            psnr=float(metrics.psnr(drawn.painted, drawn.true).mean()),
            ssim=float(metrics.ssim(drawn.painted, drawn.true).mean()),
            lpips=float(metrics.lpips(drawn.painted, drawn.true, self._alexnet).mean()),
            lpips_static=float(metrics.lpips(still, drawn.true, self._alexnet).mean()),
            landmarks_px=float(metrics.landmark_distance(*points).mean()),
            mouth=metrics.correlation(*(metrics.mouth_opening(p) for p in points)),
            eyes=metrics.correlation(*(metrics.eye_opening(p).mean(axis=1) for p in points)),
            gaze=metrics.correlation(*(metrics.gaze(p)[:, 0] for p in points)),
            yaw=turns[0],
            pitch=turns[1],
            roll=turns[2],
            identity=float(identity_similarity(described[0], portrait[None]).mean()),
            identity_true=float(identity_similarity(described[1], portrait[None]).mean()),
        )


def engine_painter(engine: Engine) -> Callable[[Portrait], Painter]:
    """An engine as a painter of target landmarks."""

    def begin(portrait: Portrait) -> Painter:
        embedding = engine.embed(portrait)
        return lambda points: engine.animate(embedding, _absolute(points, portrait))

    return begin


def static_painter(portrait: Portrait) -> Painter:
    """The baseline of doing nothing."""
    return lambda points: portrait.image


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    portrait: Portrait
    painted: metrics.Images
    true: metrics.Images


def _draw(clip: Clip, painter: Callable[[Portrait], Painter], count: int) -> _Drawn | None:
    """The clip's judged frames, painted from `count` of its frames; None if it shows no face for long enough."""
    frames = read(clip)
    shot = next((shot for shot in shots(clip, len(frames)) if len(shot) >= SHORTEST_SHOT), None)
    if shot is None:
        return None
    driver = list(_followed([frames[index] for index in shot]))
    if driver[0] is None:
        return None
    portrait, crop = _portrait(frames[shot[0]], driver[0])
    chosen = [k for k in range(STEP, len(driver), STEP) if driver[k] is not None][:MOST_FRAMES]
    if not chosen:
        return None
    portrait = with_shots(portrait, crop, [frames[k] for k in shot], driver, judged=chosen, shots=count)
    paint = painter(portrait)
    painted = [paint(crop.to_square(face.points)) for k in chosen if (face := driver[k]) is not None]
    true = [crop.cut(frames[shot[k]]) for k in chosen]
    return _Drawn(portrait, np.stack(painted), np.stack(true))


def _portrait(image: Image, face: Landmarks) -> tuple[Portrait, Crop]:
    crop = Crop.around(face.points, width_px=image.shape[1], height_px=image.shape[0])
    square = crop.cut(image)
    here = Landmarks(crop.to_square(face.points), face.blendshapes, face.pose, SIDE_PX, SIDE_PX)
    matte = person_matte(square, here)
    return Portrait(square, here, matte, still_background(square, matte), key=""), crop


def _absolute(points: Floats, portrait: Portrait) -> Motion:
    nothing = np.zeros(2, np.float32)
    return Motion(
        rotation=np.eye(3, dtype=np.float32),
        translation=nothing,
        scale=1.0,
        expression=np.zeros_like(points),
        eyes=np.ones(2, np.float32),
        gaze=np.zeros((2, 2), np.float32),
        absolute=points / np.float32(portrait.landmarks.width_px),
    )


def _followed(images: Sequence[Image], step_ns: int = CADENCE_NS // STEP) -> Iterator[Landmarks | None]:
    with FaceTracker() as tracker:
        for index, image in enumerate(images):
            yield tracker(Frame(image, index, index * step_ns))


def _retracked(portrait: Image, images: metrics.Images) -> list[Landmarks | None]:
    """The faces of `images`; the portrait is looked at first, as it is by whoever shows the video."""
    return list(_followed([portrait, *images], CADENCE_NS))[1:]


def _summary(engine: str, scores: Sequence[Score], fid: float) -> Summary:
    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores]))

    def median(name: str) -> float:
        return float(np.nanmedian([getattr(score, name) for score in scores]))

    return Summary(
        engine=engine,
        clips=len(scores),
        psnr=mean("psnr"),
        ssim=mean("ssim"),
        lpips=mean("lpips"),
        lpips_ratio=mean("lpips") / mean("lpips_static"),
        fid_vgg16=fid,
        landmarks_px=mean("landmarks_px"),
        mouth=median("mouth"),
        eyes=median("eyes"),
        gaze=median("gaze"),
        yaw=median("yaw"),
        pitch=median("pitch"),
        roll=median("roll"),
        identity_ratio=mean("identity") / mean("identity_true"),
    )
