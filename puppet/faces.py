"""Finding the face of a still picture, also where the detector fails at first: small, tilted, faint, painted ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from puppet.headpose import FIELD_OF_VIEW
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
        focal_view = focal_px(face.height_px)
        seen = np.array([face.width_px / 2 - focal_view * x / z, face.height_px / 2 + focal_view * y / z])
        centre = np.array(self.picture_size_px) / 2
        offset = inverse[:, :2] @ seen + inverse[:, 2] - centre
        focal = focal_px(self.picture_size_px[1])
        depth = z * scale * focal / focal_view
        pose[:3, 3] = (-offset[0] * depth / focal, offset[1] * depth / focal, depth)
        return pose.astype(np.float32)


Place = tuple[float, float]  # px of the picture: x, y


def find_face(image: Image, *, at: Place | None = None) -> Landmarks | None:
    """The face of an (H, W, 3) uint8 RGB picture that is nearest to the place `at`, with settled points.

    By default it is the largest one; that there were more is then said in the log.
    """
    small, scale = _searchable(image)
    finding = _search(small)
    if finding is None:
        return None
    if at is None:
        _announce(finding.faces)
        face = finding.faces[0]
    else:
        x, y = at[0] * scale, at[1] * scale
        face = min(finding.faces, key=lambda each: math.dist(_centre(each), (x, y)))
    return _enlarged(finding.settled(face), image, scale)


def find_faces(image: Image) -> list[Landmarks]:
    """All faces of a picture, the largest first, each with settled points."""
    small, scale = _searchable(image)
    finding = _search(small)
    return [_enlarged(finding.settled(face), image, scale) for face in finding.faces] if finding else []


@dataclass(frozen=True, slots=True, eq=False)
class _Finding:
    """The faces of a picture, and where they were seen."""

    image: Image
    faces: list[Landmarks]  # one at least, the largest first
    treated: Image  # the treatment of the image that shows them,
    angle_deg: float  # when it is turned by so much
    plainly: bool  # the one face there is was seen in the image as it is

    def settled(self, face: Landmarks) -> Landmarks:
        if self.plainly and (settled := settle(self.image)) is not None:
            return settled  # no view in between: the very points that a tracker gives
        return close_up(self.image, self.treated, face, angle_deg=self.angle_deg)


def _searchable(image: Image) -> tuple[Image, float]:
    """The picture at a size worth searching, and its scale."""
    height_px, width_px = image.shape[:2]
    scale = SEARCH_PX / max(height_px, width_px)
    if scale >= 1:
        return image, 1.0
    small = cv2.resize(image, (round(width_px * scale), round(height_px * scale)), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8), scale


def _enlarged(face: Landmarks, image: Image, scale: float) -> Landmarks:
    """A face of the picture that was searched, in px of `image`."""
    if scale == 1.0:
        return face
    return replace(face, points=face.points / np.float32(scale), width_px=image.shape[1], height_px=image.shape[0])


def _search(image: Image) -> _Finding | None:
    with FaceDetector(faces=MOST_FACES) as detector:
        whole = detector(image)
        found = _sure(detector, image, [*whole, *_seen(detector, image, PARTS)])
        found = found or _sure(detector, image, _seen(detector, image, SMALL_PARTS))
    if found:
        return _Finding(image, found, image, 0, plainly=len(whole) == len(found) == 1 and whole[0] is found[0])
    with FaceDetector(faces=MOST_FACES, confidence=LOW_CONFIDENCE) as detector:
        for treated, angle_deg in _harder(image):
            seen = _seen(detector, treated, PARTS, angle_deg=angle_deg)
            found = _sure(detector, treated, seen, angle_deg=angle_deg)
            if found:
                return _Finding(image, found, treated, angle_deg, plainly=False)
    return None


def _harder(image: Image) -> Iterator[tuple[Image, float]]:
    """What to try when the plain picture shows no face: treated pictures, and how far to turn the views of them."""
    for treated in treatments(image):
        yield treated, 0
    contrast = _contrasty(image)
    for angle_deg in TURNS_DEG:
        yield contrast, angle_deg


def treatments(image: Image) -> Iterator[Image]:
    """The picture itself, then what may show a face more clearly: more contrast, no colour, no brush strokes."""
    yield image
    contrast = _contrasty(image)
    yield contrast
    yield cv2.cvtColor(cv2.cvtColor(contrast, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8)
    strokes_px = max(image.shape) // 150 * 2 + 1
    yield cv2.medianBlur(image, strokes_px).astype(np.uint8)


def _contrasty(image: Image) -> Image:
    lightness, green_red, blue_yellow = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    lightness = cv2.createCLAHE(clipLimit=4, tileGridSize=(8, 8)).apply(lightness)
    return cv2.cvtColor(cv2.merge([lightness, green_red, blue_yellow]), cv2.COLOR_LAB2RGB).astype(np.uint8)


def _seen(detector: FaceDetector, image: Image, parts: Iterable[float], *, angle_deg: float = 0) -> Iterator[Landmarks]:
    """The faces in overlapping squares whose sides are these parts of the picture's longer side."""
    height_px, width_px = image.shape[:2]
    for side_px in (part * max(height_px, width_px) for part in parts):
        smooth = softened(image, side_px)
        for x in _centres(width_px, side_px):
            for y in _centres(height_px, side_px):
                view = View.square(smooth, (x, y), side_px, angle_deg=angle_deg)
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
        view = View.square(softened(image, side_px), _centre(face), side_px, angle_deg=angle_deg)
        again = [view.in_picture(each) for each in detector(view.image)]
        mirrored = detector(np.ascontiguousarray(view.image[:, ::-1]))
        if any(_distance_px(face, each) < AGREEMENT * face_width_px(face) for each in again) and any(
            math.dist(_centre(each), (VIEW_PX / 2, VIEW_PX / 2)) < AGREEMENT * face_width_px(each) for each in mirrored
        ):
            sure.append(face)
    return sorted(sure, key=face_width_px, reverse=True)


def softened(image: Image, side_px: float) -> Image:
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


def close_up(image: Image, treated: Image, face: Landmarks, *, angle_deg: float = 0) -> Landmarks:
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


def focal_px(height_px: int) -> float:
    """Of the camera that FaceLandmarker supposes before a picture of that height."""
    return height_px / (2 * math.tan(FIELD_OF_VIEW / 2))
