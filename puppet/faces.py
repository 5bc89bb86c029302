"""Finding the face of a still picture, also where the detector fails at first: small, tilted, faint, painted ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from puppet.tracking import FaceDetector, face_width_px, settle
from puppet.types import Floats, Image, Landmarks

logger = logging.getLogger(__name__)

MOST_FACES = 8
VIEW_PX = 384  # the detector itself looks at 128 px, the mesh at 256 px around a face
SEARCH_PX = 1600  # longer side; the mesh has no more than 256 px across a face in any case
PARTS = (1.5, 0.5)  # sides of the squares to search, in longer sides of the picture
SMALL_PARTS = (0.25,)
LOW_CONFIDENCE = 0.35  # of the detector, when all else failed; a second look and a mirror must confirm it
TURNS_DEG = (30, -30, 60, -60, 90, -90)
CLOSE_UP = 2.5  # face widths
AGREEMENT = 0.15  # face widths that the points of two looks at one face may lie apart
BYSTANDER = 0.25  # of the largest face's width; what is smaller is not worth a word
FIELD_OF_VIEW = math.radians(63)  # vertical, of the camera that FaceLandmarker assumes


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A turned and scaled square of a picture."""

    image: Image
    matrix: Floats  # (2, 3) from px of the picture to px of the view
    picture_size_px: tuple[int, int]  # (width, height)

    @classmethod
    def square(
        cls, image: Image, centre: tuple[float, float], side_px: float, *, angle_deg: float = 0, to_px: int = VIEW_PX
    ) -> View:
        """`side_px` of the picture around `centre`, turned counter-clockwise; beyond the picture its edge goes on."""
        matrix = cv2.getRotationMatrix2D(centre, angle_deg, to_px / side_px).astype(np.float32)
        matrix[:, 2] += to_px / 2 - np.array(centre, np.float32)
        turned = cv2.warpAffine(image, matrix, (to_px, to_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return cls(turned.astype(np.uint8), matrix, (image.shape[1], image.shape[0]))

    def in_picture(self, face: Landmarks) -> Landmarks:
        """A face found in the view, in px of the picture and before the picture's camera."""
        scale = float(np.hypot(*self.matrix[:, 0]))
        inverse = cv2.invertAffineTransform(self.matrix).astype(np.float32)
        points = np.column_stack([face.points[:, :2] @ inverse[:, :2].T + inverse[:, 2], face.points[:, 2] / scale])
        width_px, height_px = self.picture_size_px
        return replace(
            face, points=points.astype(np.float32), pose=self._pose(face, scale, inverse),
            width_px=width_px, height_px=height_px,
        )  # fmt: skip

    def _pose(self, face: Landmarks, scale: float, inverse: Floats) -> Floats:
        """The pose that puts the head's origin on the same spot of the picture, as large, and turned back."""
        turn = np.diag([1, -1]) @ self.matrix[:, :2].astype(float).T @ np.diag([1, -1]) / scale
        pose = face.pose.astype(float)
        pose[:2, :3] = turn @ pose[:2, :3]
        x, y, z = face.pose[:3, 3]
        focal_view = _focal_px(face.height_px)
        seen = np.array([face.width_px / 2 - focal_view * x / z, face.height_px / 2 + focal_view * y / z])
        centre = np.array(self.picture_size_px) / 2
        offset = inverse[:, :2] @ seen + inverse[:, 2] - centre
        focal = _focal_px(self.picture_size_px[1])
        depth = z * scale * focal / focal_view
        pose[:3, 3] = (-offset[0] * depth / focal, offset[1] * depth / focal, depth)
        return pose.astype(np.float32)


def find_face(image: Image) -> Landmarks | None:
    """The largest face of an (H, W, 3) uint8 RGB picture, with settled points; says so when there are more."""
    height_px, width_px = image.shape[:2]
    if max(height_px, width_px) > SEARCH_PX:
        scale = SEARCH_PX / max(height_px, width_px)
        small = cv2.resize(image, (round(width_px * scale), round(height_px * scale)), interpolation=cv2.INTER_AREA)
        face = find_face(small.astype(np.uint8))
        return face and replace(face, points=face.points / np.float32(scale), width_px=width_px, height_px=height_px)
    with FaceDetector(faces=MOST_FACES) as detector:
        whole = detector(image)
        found = _sure(detector, image, [*whole, *_seen(detector, image, PARTS)])
        found = found or _sure(detector, image, _seen(detector, image, SMALL_PARTS))
    if found:
        _announce(found)
        only = len(whole) == len(found) == 1 and whole[0] is found[0]
        if only and (settled := settle(image)) is not None:
            return settled  # no view in between: the very points that a tracker gives
        return _close_up(image, image, found[0])
    with FaceDetector(faces=MOST_FACES, confidence=LOW_CONFIDENCE) as detector:
        for treated, angle_deg in _harder(image):
            seen = _seen(detector, treated, PARTS, angle_deg=angle_deg)
            found = _sure(detector, treated, seen, angle_deg=angle_deg)
            if found:
                _announce(found)
                return _close_up(image, treated, found[0], angle_deg=angle_deg)
    return None


def _harder(image: Image) -> Iterator[tuple[Image, float]]:
    """What to try when the plain picture shows no face: treated pictures, and how far to turn the views of them."""
    yield image, 0
    lightness, green_red, blue_yellow = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    lightness = cv2.createCLAHE(clipLimit=4, tileGridSize=(8, 8)).apply(lightness)
    contrast = cv2.cvtColor(cv2.merge([lightness, green_red, blue_yellow]), cv2.COLOR_LAB2RGB).astype(np.uint8)
    yield contrast, 0
    yield cv2.cvtColor(lightness, cv2.COLOR_GRAY2RGB).astype(np.uint8), 0
    strokes_px = max(image.shape) // 150 * 2 + 1
    yield cv2.medianBlur(image, strokes_px).astype(np.uint8), 0
    for angle_deg in TURNS_DEG:
        yield contrast, angle_deg


def _seen(detector: FaceDetector, image: Image, parts: Iterable[float], *, angle_deg: float = 0) -> Iterator[Landmarks]:
    """The faces in overlapping squares whose sides are these parts of the picture's longer side."""
    height_px, width_px = image.shape[:2]
    for side_px in (part * max(height_px, width_px) for part in parts):
        softened = _softened(image, side_px)
        for x in _centres(width_px, side_px):
            for y in _centres(height_px, side_px):
                view = View.square(softened, (x, y), side_px, angle_deg=angle_deg)
                for face in detector(view.image):
                    inside = (face.points[:, :2] > 0).all(axis=1) & (face.points[:, :2] < VIEW_PX).all(axis=1)
                    if inside.mean() > 0.95:
                        yield view.in_picture(face)


def _sure(detector: FaceDetector, image: Image, faces: Iterable[Landmarks], *, angle_deg: float = 0) -> list[Landmarks]:
    """Each face once, the largest first, without those that a nearer look or a mirror does not show."""
    sure: list[Landmarks] = []
    for face in faces:
        if any(_distance_px(face, other) < face_width_px(other) / 2 for other in sure):
            continue
        side_px = CLOSE_UP * face_width_px(face)
        view = View.square(_softened(image, side_px), _centre(face), side_px, angle_deg=angle_deg)
        again = [view.in_picture(each) for each in detector(view.image)]
        mirrored = detector(np.ascontiguousarray(view.image[:, ::-1]))
        if any(_distance_px(face, each) < AGREEMENT * face_width_px(face) for each in again) and any(
            math.dist(_centre(each), (VIEW_PX / 2, VIEW_PX / 2)) < AGREEMENT * face_width_px(each) for each in mirrored
        ):
            sure.append(face)
    return sorted(sure, key=face_width_px, reverse=True)


def _softened(image: Image, side_px: float) -> Image:
    """The picture without the detail that a view of that side cannot hold."""
    if side_px <= VIEW_PX:
        return image
    return cv2.GaussianBlur(image, (0, 0), 0.4 * side_px / VIEW_PX).astype(np.uint8)


def _centres(length_px: int, side_px: float) -> Floats:
    """Where squares stand along a side that they cover, each with half of the next."""
    if side_px >= length_px:
        return np.array([length_px / 2], np.float32)
    count = 1 + math.ceil((length_px - side_px) / (side_px / 2))
    return np.linspace(side_px / 2, length_px - side_px / 2, count, dtype=np.float32)


def _announce(faces: list[Landmarks]) -> None:
    count = sum(face_width_px(face) > BYSTANDER * face_width_px(faces[0]) for face in faces)
    if count > 1:
        logger.warning("%d faces found; took the largest", count)


def _close_up(image: Image, treated: Image, face: Landmarks, *, angle_deg: float = 0) -> Landmarks:
    """The same face with settled points, from the untreated picture if it is to be seen there."""
    side_px = CLOSE_UP * face_width_px(face)
    to_px = round(max(VIEW_PX, side_px))
    plain, clear = (
        View.square(each, _centre(face), side_px, angle_deg=angle_deg, to_px=to_px) for each in (image, treated)
    )
    settled = settle(plain.image, primer=clear.image)
    return face if settled is None else plain.in_picture(settled)


def _centre(face: Landmarks) -> tuple[float, float]:
    x, y = face.points[:, :2].mean(axis=0)
    return float(x), float(y)


def _distance_px(one: Landmarks, other: Landmarks) -> float:
    """Mean distance of their points."""
    return float(np.linalg.norm(one.points[:, :2] - other.points[:, :2], axis=1).mean())


def _focal_px(height_px: int) -> float:
    return height_px / (2 * math.tan(FIELD_OF_VIEW / 2))
