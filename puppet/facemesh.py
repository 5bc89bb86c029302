"""MediaPipe's 478 face landmarks by name: which index is which part of the face.

"Left" and "right" are the picture's, as in a portrait that is looked at. Curves run from left to right and
include both corners.
"""

from __future__ import annotations

from typing import Final

Indices = tuple[int, ...]

OVAL: Final[Indices] = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# The points that hardly move with expression: forehead, temples, nose bridge, eye corners.
STABLE: Final[Indices] = (
    10, 67, 297, 109, 338, 151, 9, 8, 168, 6, 197, 195,
    54, 284, 103, 332, 21, 251, 162, 389, 127, 356,
    33, 133, 362, 263, 143, 372,
)  # fmt: skip

# Those of them that move with the skull alone: the forehead's skin follows the brows a little.
SKULL: Final[Indices] = (168, 6, 197, 195, 33, 133, 362, 263, 143, 372, 21, 251, 162, 389, 127, 356, 234, 454)
FOREHEAD: Final[Indices] = (54, 103, 67, 109, 10, 338, 297, 332, 284, 151)

LIP_OUTER_UPPER: Final[Indices] = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_OUTER_LOWER: Final[Indices] = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_INNER_UPPER: Final[Indices] = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_INNER_LOWER: Final[Indices] = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)

# The lips in columns without the corners, row by row from the upper lip's skin down to the lower lip's.
LIP_ROWS_UPPER: Final[tuple[Indices, ...]] = (
    (185, 40, 39, 37, 0, 267, 269, 270, 409),
    (184, 74, 73, 72, 11, 302, 303, 304, 408),
    (183, 42, 41, 38, 12, 268, 271, 272, 407),
    (191, 80, 81, 82, 13, 312, 311, 310, 415),
)
LIP_ROWS_LOWER: Final[tuple[Indices, ...]] = (
    (95, 88, 178, 87, 14, 317, 402, 318, 324),
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
    (146, 91, 181, 84, 17, 314, 405, 321, 375),
)
LIP_CORNERS: Final[tuple[Indices, Indices]] = ((61, 76, 62, 78), (291, 306, 292, 308))  # from the skin inwards

# [0] the eye at the picture's left (the subject's right), [1] the other.
LID_UPPER: Final[tuple[Indices, Indices]] = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (362, 398, 384, 385, 386, 387, 388, 466, 263),
)
LID_LOWER: Final[tuple[Indices, Indices]] = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (362, 382, 381, 380, 374, 373, 390, 249, 263),
)
# The rings around the lids: the lid's skin next to the contour, and the socket's edge that a blink hardly moves.
LID_SKIN_UPPER: Final[tuple[Indices, Indices]] = (
    (247, 30, 29, 27, 28, 56, 190),
    (414, 286, 258, 257, 259, 260, 467),
)
SOCKET_UPPER: Final[tuple[Indices, Indices]] = (
    (113, 225, 224, 223, 222, 221, 189),
    (413, 441, 442, 443, 444, 445, 342),
)
SOCKET_LOWER: Final[tuple[Indices, Indices]] = (
    (25, 110, 24, 23, 22, 26, 112),
    (341, 256, 252, 253, 254, 339, 255),
)
BROW: Final[tuple[Indices, Indices]] = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (336, 296, 334, 293, 300, 276, 283, 282, 295, 285),
)
# Centre first, then the four points on the rim.
IRIS: Final[tuple[Indices, Indices]] = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
NOSE_TIP: Final = 1
NOSE_BASE: Final = 2
CHIN: Final = 152
