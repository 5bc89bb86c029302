"""Makes docs/evaluation.jpg: the bundled portraits, moved by every contestant of Table 1 with the bundled motion.

PYTHONPATH=. python docs/make_evaluation_sheet.py [WEIGHTS of rivals, made by puppet train]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from engines import load
from engines.training import table
from engines.training.evaluation import square_portrait
from puppet.facemesh import LIP_INNER_LOWER, LIP_INNER_UPPER
from puppet.headpose import rotation_vector
from puppet.motion import Retargeter, neutral_of, target_points
from puppet.picture import read_picture
from puppet.recording import Recording
from puppet.settings import asset, sample_portraits
from puppet.tracking import detect
from puppet.types import Image

OUT = Path(__file__).with_name("evaluation.jpg")
SIDE_PX = 176  # of a cell
TITLE_PX = 20


def main() -> None:
    recording = Recording.load(asset("sample.motion"))
    faces = [face for face in recording if face is not None]
    rest = neutral_of(faces[: round(recording.fps)])
    lips = [face.points[LIP_INNER_LOWER[5], 1] - face.points[LIP_INNER_UPPER[5], 1] for face in faces]
    rows = []
    with load("neural") as engine, load("warp") as warp:
        contestants = table.contestants(engine, [Path(name) for name in sys.argv[1:]], shots=(1,), warp=warp)
        for path in sample_portraits():
            image = read_picture(path)
            portrait, _ = square_portrait(image, detect(image, faces=1)[0])
            retarget = Retargeter(calibration=rest, portrait=portrait.landmarks)
            motions = [retarget(face, index=face.index, time_ns=face.time_ns) for face in faces]
            turns = [abs(rotation_vector(motion.rotation.astype(np.float64))[1]) for motion in motions]
            painters = [each.begin(portrait) for each in contestants]
            for index in (int(np.argmax(lips)), int(np.argmax(turns))):
                points = target_points(motions[index], portrait.landmarks)
                rows.append(np.hstack([_cell(paint(points)) for paint in painters]))
    titles = [_title(table.TITLES.get(each.name, f"{each.name} engine")) for each in contestants]
    sheet = np.vstack([np.hstack(titles), *rows])
    cv2.imwrite(str(OUT), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    print(OUT)


def _cell(picture: Image) -> Image:
    return np.asarray(cv2.resize(picture[..., :3], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _title(text: str) -> Image:
    strip = np.full((TITLE_PX, SIDE_PX, 3), 255, np.uint8)
    return cv2.putText(strip, text, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
