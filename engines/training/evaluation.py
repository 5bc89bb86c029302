"""How good an engine is: every clip's first frame as portrait, its later frames as driver, beside the true frames.

With T shots, the portrait has T - 1 further frames of the clip, none of which is judged.
The portrait lies over the clip pixel for pixel (absolute motion), so the driver's landmarks are the targets. The
engine's video is tracked anew, in order, and so are the true frames at the same cadence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from tqdm import tqdm

from engines.geometry import SIDE_PX, Crop
from engines.training import metrics
from engines.training.clips import Clip, DataError, read, shots
from engines.training.identity import IdentityNet, identity_distance, identity_similarity
from engines.training.perceptual import PerceptualNet
from engines.training.shots import with_shots
from puppet.matting import person_matte, still_background
from puppet.tracking import FaceTracker
from puppet.types import Floats, Frame, Image, Landmarks, Portrait

STEP: Final = 10  # of the driver's frames, one is judged
MOST_FRAMES: Final = 20  # of a clip
CADENCE_NS: Final = 400_000_000  # between judged frames, for the tracker's clock
SHORTEST_SHOT: Final = 2 * STEP + 1

Painter = Callable[[Floats], Image]  # landmarks (478, 3) px of the portrait -> the picture


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is judged: a way to paint a portrait, and of how many pictures that portrait is made."""

    name: str
    begin: Callable[[Portrait], Painter]
    shots: int = 1


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
    likeness: float  # that with the true frame beside it,
    identity_distance: float  # from which the face lies so far, Euclidean: about 0.4 for one person, 0.85 for two


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over clips (correlations: medians), and the Fréchet distance over all frames together."""

    engine: str
    shots: int
    clips: int
    lost: float  # share of the judged frames in which no face was found again
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
    identity: float  # dlib's cosine with the portrait,
    identity_ratio: float  # and its ratio to that of the true frames
    likeness: float  # that with the true frame beside it,
    identity_distance: float  # from which the face lies so far, Euclidean: about 0.4 for one person, 0.85 for two


class Judge:
    """Holds the networks that compare; one for all engines."""

    def __init__(self) -> None:
        self._alexnet = PerceptualNet.load("alexnet")
        self._vgg16 = PerceptualNet.load("vgg16")
        self._identity = IdentityNet()

    def compare(
        self, contestants: Sequence[Contestant], clips: Sequence[Clip], *, progress: bool = False
    ) -> list[tuple[Summary, list[Score]]]:
        """Judge all contestants on all clips that show one face for long enough; a result for each.

        progress: draw a bar on stderr if that is a terminal.
        """
        scores: dict[int, list[Score]] = defaultdict(list)
        features: dict[int, list[Floats]] = defaultdict(list)
        true: list[Floats] = []
        with tqdm(total=len(clips) * len(contestants), unit="clip", disable=None if progress else True) as bar:
            for clip in clips:
                scene = _scene(clip)
                if scene is None:
                    bar.update(len(contestants))
                    continue
                truth = self._truth(scene)
                true.append(metrics.vgg_features(scene.true, self._vgg16))
                for number, contestant in enumerate(contestants):
                    painted = scene.painted(contestant)
                    scores[number].append(self._score(scene, painted, truth))
                    features[number].append(metrics.vgg_features(painted, self._vgg16))
                    bar.update()
        if not true:
            raise DataError("None of the clips shows a face that can be followed; give clips of one face each.")
        results = []
        for number, contestant in enumerate(contestants):
            fid = metrics.fid(np.concatenate(features[number]), np.concatenate(true))
            results.append((_summary(contestant, scores[number], fid), scores[number]))
        return results

    def _truth(self, scene: _Scene) -> _Truth:
        still = np.repeat(scene.portrait.image[None], len(scene.true), axis=0)
        return _Truth(
            faces=self._described(scene, scene.true),
            portrait=self._identity.describe(scene.portrait.image, scene.portrait.landmarks.points),
            lpips_static=float(metrics.lpips(still, scene.true, self._alexnet).mean()),
        )

    def _described(self, scene: _Scene, images: metrics.Images) -> list[_Described | None]:
        """The face of each of `images`, a video: tracked anew, and whose it is."""
        return [
            face and _Described(face, self._identity.describe(image, face.points))
            for image, face in zip(images, _retracked(scene.portrait.image, images), strict=True)
        ]

    def _score(self, scene: _Scene, painted: metrics.Images, truth: _Truth) -> Score:
        found = zip(self._described(scene, painted), truth.faces, strict=True)
        both = [(ours, theirs) for ours, theirs in found if ours is not None and theirs is not None]
        return Score(
            clip=scene.clip.name,
            frames=len(scene.true),
            lost=len(scene.true) - len(both),
            psnr=float(metrics.psnr(painted, scene.true).mean()),
            ssim=float(metrics.ssim(painted, scene.true).mean()),
            lpips=float(metrics.lpips(painted, scene.true, self._alexnet).mean()),
            lpips_static=truth.lpips_static,
            **_face_figures(both, truth.portrait),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Described:
    face: Landmarks
    descriptor: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """What all contestants are compared with, besides the true pictures."""

    faces: Sequence[_Described | None]
    portrait: Floats  # descriptor
    lpips_static: float


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """A clip to be judged by."""

    clip: Clip
    portrait: Portrait  # its first frame
    crop: Crop  # of its frames
    frames: Sequence[Image]
    faces: Sequence[Landmarks | None]
    judged: Sequence[int]
    true: metrics.Images  # the judged frames in the crop

    def painted(self, contestant: Contestant) -> metrics.Images:
        """The judged frames, as the contestant paints them."""
        paint = contestant.begin(
            with_shots(self.portrait, self.crop, self.frames, self.faces, judged=self.judged, shots=contestant.shots)
        )
        return np.stack([paint(self.crop.to_square(face.points)) for k in self.judged if (face := self.faces[k])])


def _scene(clip: Clip) -> _Scene | None:
    """None if the clip shows no face for long enough."""
    everything = read(clip)
    shot = next((shot for shot in shots(clip, len(everything)) if len(shot) >= SHORTEST_SHOT), None)
    if shot is None:
        return None
    frames = [everything[index] for index in shot]
    faces = list(_followed(frames))
    judged = [k for k in range(STEP, len(faces), STEP) if faces[k] is not None][:MOST_FRAMES]
    if faces[0] is None or not judged:
        return None
    portrait, crop = square_portrait(frames[0], faces[0])
    return _Scene(clip, portrait, crop, frames, faces, judged, np.stack([crop.cut(frames[k]) for k in judged]))


def square_portrait(image: Image, face: Landmarks) -> tuple[Portrait, Crop]:
    """The portrait of 256 x 256 px around a face in `image`, and where it was cut from."""
    crop = Crop.around(face.points, width_px=image.shape[1], height_px=image.shape[0])
    square = crop.cut(image)
    here = Landmarks(crop.to_square(face.points), face.blendshapes, face.pose, SIDE_PX, SIDE_PX)
    matte = person_matte(square, here)
    return Portrait(square, here, matte, still_background(square, matte), key=""), crop


def _followed(images: Sequence[Image], step_ns: int = CADENCE_NS // STEP) -> Iterator[Landmarks | None]:
    with FaceTracker() as tracker:
        for index, image in enumerate(images):
            yield tracker(Frame(image, index, index * step_ns))


def _retracked(portrait: Image, images: metrics.Images) -> list[Landmarks | None]:
    """The faces of `images`; the portrait is looked at first, as it is by whoever shows the video."""
    return list(_followed([portrait, *images], CADENCE_NS))[1:]


def _face_figures(both: Sequence[tuple[_Described, _Described]], portrait: Floats) -> dict[str, float]:
    """Those of `Score` that compare faces, each of a painted and a true frame; not numbers if there are none."""
    if not both:
        names = ("landmarks_px", "mouth", "eyes", "gaze", "yaw", "pitch", "roll")
        return dict.fromkeys((*names, "identity", "identity_true", "likeness", "identity_distance"), float("nan"))
    sides = list(zip(*both, strict=True))
    points = [np.stack([each.face.points for each in side]) for side in sides]
    angles = [metrics.head_angles(np.stack([each.face.pose for each in side])) for side in sides]
    descriptors = [np.stack([each.descriptor for each in side]) for side in sides]
    turns = {
        name: metrics.correlation(angles[0][:, axis], angles[1][:, axis])
        for axis, name in enumerate(("yaw", "pitch", "roll"))
    }
    return turns | {
        "landmarks_px": float(metrics.landmark_distance(*points).mean()),
        "mouth": metrics.correlation(*(metrics.mouth_opening(p) for p in points)),
        "eyes": metrics.correlation(*(metrics.eye_opening(p).mean(axis=1) for p in points)),
        "gaze": metrics.correlation(*(metrics.gaze(p)[:, 0] for p in points)),
        "identity": float(identity_similarity(descriptors[0], portrait[None]).mean()),
        "identity_true": float(identity_similarity(descriptors[1], portrait[None]).mean()),
        "likeness": float(identity_similarity(*descriptors).mean()),
        "identity_distance": float(identity_distance(*descriptors).mean()),
    }


def _summary(contestant: Contestant, scores: Sequence[Score], fid: float) -> Summary:
    def known(name: str) -> list[float]:
        found = [getattr(score, name) for score in scores]
        return [value for value in found if not np.isnan(value)] or [float("nan")]

    def mean(name: str) -> float:
        return float(np.mean(known(name)))

    def median(name: str) -> float:
        return float(np.median(known(name)))

    return Summary(
        engine=contestant.name,
        shots=contestant.shots,
        clips=len(scores),
        lost=sum(score.lost for score in scores) / sum(score.frames for score in scores),
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
        identity=mean("identity"),
        identity_ratio=mean("identity") / mean("identity_true"),
        likeness=mean("likeness"),
        identity_distance=mean("identity_distance"),
    )
