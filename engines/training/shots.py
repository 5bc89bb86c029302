"""T-shot evaluation: a clip's portrait together with T - 1 further frames of it, none of which is judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engines.geometry import SIDE_PX, Crop
from puppet.overlay import album_of
from puppet.types import Image, Landmarks, Portrait

GOLDEN = 0.6180339887498949


def spread(places: Sequence[int], count: int) -> list[int]:
    """`count` of the `places`, spread over them, fewer only if there are fewer; the first of more are those of less.

    Places at multiples of the golden ratio, modulo 1: each falls into the widest gap that those before it left.
    """
    taken: dict[int, None] = {}
    step = 1
    while len(taken) < min(count, len(places)):
        taken[places[int((step * GOLDEN) % 1 * len(places))]] = None
        step += 1
    return list(taken)


def with_shots(
    portrait: Portrait,
    crop: Crop,
    frames: Sequence[Image],
    faces: Sequence[Landmarks | None],
    *,
    judged: Collection[int],
    shots: int,
) -> Portrait:
    """The portrait, frame 0 of `frames` in `crop`, with `shots` - 1 other frames that show a face and are not judged.

    Any engine embeds it as it embeds a portrait.
    """
    if shots <= 1:
        return portrait
    free = [k for k, face in enumerate(faces) if k > 0 and k not in judged and face is not None]
    pictures = []
    for k in spread(free, shots - 1):
        face = faces[k]
        assert face is not None
        points = crop.to_square(face.points)
        pictures.append((crop.cut(frames[k]), Landmarks(points, face.blendshapes, face.pose, SIDE_PX, SIDE_PX)))
    return album_of(portrait, pictures, key=f"{portrait.key} {shots}")
