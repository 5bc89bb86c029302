"""A user study: one page of blind questions, made from a folder of pictures or videos, and what its answers say.

Each question is a folder. `real.*` in it asks which one is real; `reference.*` asks which looks more like the person
in it. All other files are what is compared, each named after the method that made it: `ours.mp4`, `baseline.mp4`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from puppet.settings import asset
from puppet.types import PuppetError

PAGE: Final = "study.html"  # in the folder
KINDS: Final = {
    **{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"},
    **{".mp4": "video/mp4", ".webm": "video/webm"},
}
REAL, REFERENCE = "real", "reference"
LARGEST_BYTES: Final = 400_000_000  # of all files together, more than which a browser does not open as one page
Z: Final = 1.959964  # of the normal distribution: 95 %

Asked = Literal["real", "likeness"]


class StudyError(PuppetError, ValueError):
    """A folder, or a file of answers, is none that a study can be made of."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about one folder."""

    name: str
    asks: Asked  # "real": which one is real; "likeness": which looks more like the person in the reference
    choices: dict[str, Path]  # by the method that made it; one of them is "real" if that is asked for
    reference: Path | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """How often something was chosen of the times it was shown, with Wilson's interval (1927), 95 %."""

    asks: Asked
    choice: str  # for "real" asked and "real" chosen, this is the accuracy
    chosen: int
    shown: int
    share: float
    low: float
    high: float


def find_questions(folder: Path) -> list[Question]:
    """The questions in the folders of `folder`, by name. Raises StudyError."""
    if not folder.is_dir():
        raise StudyError(f"There is no folder {folder}; name one that holds a folder for each question.")
    questions: list[Question] = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = _files(each)
        reference = files.pop(REFERENCE, None)
        made = {name: path for name, path in files.items() if name != REAL}
        if REAL in files and made:
            questions.append(Question(each.name, "real", files))
        if reference is not None and len(made) >= 2:
            questions.append(Question(each.name, "likeness", made, reference))
        if not questions or questions[-1].name != each.name:
            raise StudyError(
                f"{each} asks nothing: it needs real.* beside one or more others, or reference.* beside two or more."
            )
    if not questions:
        raise StudyError(f"{folder} holds no questions; put real.*, ours.*, … into a folder for each.")
    return questions


def _files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.suffix.lower() not in KINDS or not path.is_file() or path.stat().st_size == 0:
            raise StudyError(f"{path} is nothing that a page can show; use {', '.join(KINDS)}.")
        if path.stem in files:
            raise StudyError(f"{folder} has two files for {path.stem}; leave one of them.")
        files[path.stem] = path
    return files


def write_page(folder: Path, out: Path | None = None) -> tuple[Path, list[Question]]:
    """Write the page with all that it shows in it, to study.html in `folder` by default. Raises StudyError."""
    questions = find_questions(folder)
    out = out or folder / PAGE
    files = [path for question in questions for path in (*question.choices.values(), question.reference) if path]
    total_bytes = sum(path.stat().st_size for path in set(files))
    if total_bytes > LARGEST_BYTES:
        raise StudyError(
            f"The files in {folder} have {total_bytes / 1e6:.0f} MB together, too much for a page; "
            f"split them, or make them smaller than {LARGEST_BYTES / 1e6:.0f} MB."
        )
    media = {path: index for index, path in enumerate(dict.fromkeys(files))}
    study = {
        "id": study_id(questions),
        "media": [[KINDS[path.suffix.lower()], base64.b64encode(path.read_bytes()).decode()] for path in media],
        "questions": [
            {
                "name": question.name,
                "asks": question.asks,
                "choices": {name: media[path] for name, path in question.choices.items()},
                "reference": media[question.reference] if question.reference else None,
            }
            for question in questions
        ],
    }
    template = asset("study.html").read_text(encoding="utf-8")
    _replace(out, template.replace("{/* STUDY */}", json.dumps(study).replace("</", "<\\/")))
    return out, questions


def _replace(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as temporary:
            try:
                temporary.write(text)
                temporary.close()
                os.replace(temporary.name, path)
            except OSError:
                Path(temporary.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StudyError(f"{path} cannot be written ({error.strerror}); check the folder and its disk.") from error


def study_id(questions: Iterable[Question]) -> str:
    """Twelve characters by which answers are known to be of these questions."""
    names = [(question.name, question.asks, sorted(question.choices)) for question in questions]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]


def tally(folder: Path, answers: Sequence[Path]) -> list[Share]:
    """What the answers in CSV files, as the page of `folder` saves them, say together. Raises StudyError."""
    questions = find_questions(folder)
    wanted = study_id(questions)
    asked = {(question.name, question.asks): question for question in questions}
    counts: dict[tuple[Asked, str], list[int]] = {}
    for path in answers:
        for row in _rows(path):
            question = asked.get((row["question"], row["asks"]))  # type: ignore[arg-type]
            if row["study"] != wanted or question is None or row["chosen"] not in question.choices:
                raise StudyError(f"{path} holds answers to other questions than those in {folder}.")
            for name in question.choices:
                count = counts.setdefault((question.asks, name), [0, 0])
                count[0] += name == row["chosen"]
                count[1] += 1
    if not counts:
        raise StudyError(f"There are no answers in {', '.join(map(str, answers))}.")
    return [
        Share(asks, name, chosen, shown, chosen / shown, *wilson(chosen, shown))
        for (asks, name), (chosen, shown) in sorted(counts.items(), key=lambda item: (item[0][0] != "real", item[0][1]))
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    needed = {"study", "question", "asks", "chosen"}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}); check its name.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path} is no file of answers ({error}); use what the page saved.") from error
    if not rows or not needed <= rows[0].keys() or any(row[name] is None for row in rows for name in needed):
        raise StudyError(f"{path} is no file of answers: it needs the columns {', '.join(sorted(needed))}.")
    return rows


def wilson(chosen: int, shown: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); `shown` > 0."""
    share = chosen / shown
    middle = share + Z**2 / (2 * shown)
    half = Z * math.sqrt(share * (1 - share) / shown + Z**2 / (4 * shown**2))
    whole = 1 + Z**2 / shown
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def sentence(share: Share) -> str:
    """One line for people."""
    if share.asks == "likeness":
        what = f"{share.choice} looks most like the person"
    elif share.choice == REAL:
        what = "accuracy: the real one was found"
    else:
        what = f"{share.choice} was taken for real"
    return (
        f"{what} in {share.chosen} of {share.shown}: {100 * share.share:.1f} % "
        f"(95 % interval {100 * share.low:.1f} to {100 * share.high:.1f})"
    )


def as_json(shares: Sequence[Share]) -> str:
    return json.dumps([asdict(share) for share in shares])
