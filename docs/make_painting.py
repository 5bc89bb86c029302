"""Paint puppet/assets/portraits/painting.jpg: the astronaut as an oil portrait, before a dark ground.

Layers of curved brush strokes from coarse to fine, each laid where the canvas still differs from the reference
(after Hertzmann, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes", SIGGRAPH 1998); then the relief
of the paint and the weave under a raking light, and a warm varnish.

    python docs/make_painting.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np

PORTRAITS = Path(__file__).parents[1] / "puppet" / "assets" / "portraits"
WIDTH_PX = 768
BRUSH_RADII_PX = (24, 13, 7, 4, 2, 1)
LONGEST_STROKE = 14  # steps of one brush radius each


def before_dark_ground(photo: np.ndarray) -> np.ndarray:
    """Set the person before an umber ground that is lighter around the head; float32 RGB 0..255."""
    with mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as segmenter:
        mask = segmenter.process(photo).segmentation_mask
    mask = cv2.erode(np.clip((mask - 0.5) / 0.4, 0, 1), np.ones((5, 5)))  # the photo's bright ground shines at the rim
    mask = cv2.GaussianBlur(mask, (0, 0), 2)[..., None]
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    glow = np.exp(-(((x / width - 0.62) / 0.55) ** 2 + ((y / height - 0.35) / 0.45) ** 2))[..., None]
    ground = np.array([34, 27, 20], np.float32) + glow * np.array([62, 50, 33], np.float32)
    return mask * photo + (1 - mask) * ground


def old_palette(picture: np.ndarray) -> np.ndarray:
    """Muted, warm colours: less chroma, brown shadows, yellow lights."""
    lab = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB).astype(np.float32)
    lightness = lab[..., 0] / 255
    lab[..., 0] = 255 * (0.04 + 0.9 * lightness**1.15)
    lab[..., 1] = 128 + (lab[..., 1] - 128) * 0.8 + 5
    lab[..., 2] = 128 + (lab[..., 2] - 128) * 0.75 + 6
    return cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB).astype(np.float32)


def stroke_path(
    start: tuple[int, int], radius: int, along: np.ndarray, reference: np.ndarray, canvas: np.ndarray
) -> list[tuple[int, int]]:
    """Follow the field `along` (H, W, 2) from `start` (x, y) while the stroke's colour still improves the canvas."""
    height, width = reference.shape[:2]
    x, y = map(float, start)
    colour = reference[start[1], start[0]]
    heading = np.zeros(2, np.float32)
    path = [start]
    for step in range(LONGEST_STROKE):
        column, row = round(x), round(y)
        here = reference[row, column]
        if step > 3 and np.abs(here - canvas[row, column]).sum() < np.abs(here - colour).sum():
            break
        direction = along[row, column]
        direction = -direction if direction @ heading < 0 else direction
        heading = 0.6 * direction + 0.4 * heading
        x, y = x + radius * heading[0], y + radius * heading[1]
        if not (0 <= round(x) < width and 0 <= round(y) < height):
            break
        path.append((round(x), round(y)))
    return path


def paint(reference: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the painted canvas (H, W, 3) and the height of its paint (H, W), both float32."""
    height, width = reference.shape[:2]
    canvas = np.tile(np.array([70, 56, 40], np.float32), (height, width, 1))
    relief = np.zeros((height, width), np.float32)
    for radius in BRUSH_RADII_PX:
        blurred = cv2.GaussianBlur(reference, (0, 0), 0.5 * radius)
        luma = cv2.cvtColor(blurred, cv2.COLOR_RGB2GRAY)
        gx, gy = (cv2.Sobel(luma, cv2.CV_32F, i, 1 - i) for i in (1, 0))
        # The structure tensor smooths directions without letting opposite gradients cancel.
        xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), 1.5 * radius) for product in (gx * gx, gy * gy, gx * gy))
        angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
        along = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        wrong = cv2.blur(np.abs(canvas - blurred).sum(axis=2), (radius, radius))
        threshold = 60 if radius > 4 else 30
        starts = [
            (min(x + int(random.integers(radius)), width - 1), min(y + int(random.integers(radius)), height - 1))
            for y in range(0, height, radius)
            for x in range(0, width, radius)
            if radius == BRUSH_RADII_PX[0] or wrong[y, x] > threshold
        ]
        random.shuffle(starts)
        for start in starts:
            path = np.array(stroke_path(start, radius, along, blurred, canvas), np.int32)
            colour = blurred[start[1], start[0]] + random.normal(0, 5) + random.normal(0, 2.5, 3)
            cv2.polylines(canvas, [path], False, colour.tolist(), 2 * radius, cv2.LINE_AA)
            cv2.polylines(relief, [path], False, float(random.uniform(0.2, 1)), 2 * radius, cv2.LINE_AA)
    return canvas, relief


def light(canvas: np.ndarray, relief: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Light paint and weave from the upper left, and varnish; uint8."""
    height, width = relief.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    weave = np.sin(x * 1.9) * np.cos(y * 0.35) + np.cos(y * 1.9) * np.sin(x * 0.35)
    bristles = cv2.GaussianBlur(random.normal(0, 1, relief.shape).astype(np.float32), (0, 0), 1.2)
    surface = cv2.GaussianBlur(relief, (0, 0), 0.8) + 0.08 * weave + 0.12 * bristles
    slope = cv2.Sobel(surface, cv2.CV_32F, 1, 0) + cv2.Sobel(surface, cv2.CV_32F, 0, 1)
    vignette = 1 - 0.25 * (((x / width - 0.5) / 0.7) ** 2 + ((y / height - 0.45) / 0.8) ** 2)
    shaded = canvas * (vignette * (1 + 0.035 * np.clip(slope, -2, 2)))[..., None]
    return np.clip(shaded * np.array([1.02, 0.99, 0.9]), 0, 255).astype(np.uint8)


def main() -> None:
    random = np.random.default_rng(1503)
    photo = cv2.cvtColor(cv2.imread(str(PORTRAITS / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    height_px = round(WIDTH_PX * photo.shape[0] / photo.shape[1] / 2) * 2
    photo = cv2.resize(photo, (WIDTH_PX, height_px), interpolation=cv2.INTER_CUBIC)
    canvas, relief = paint(old_palette(before_dark_ground(photo)), random)
    painting = light(canvas, relief, random)
    cv2.imwrite(
        str(PORTRAITS / "painting.jpg"), cv2.cvtColor(painting, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )


if __name__ == "__main__":
    main()
