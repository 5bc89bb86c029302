"""The user study: from a folder to a page that a browser can run, and from its answers to shares."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet.__main__ import main
from puppet.study import StudyError, find_questions, study_id, tally, wilson, write_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")

# Answers everything by keys, the real one and "ours" wherever they are; then says what the page would save.
VISITOR = """
<script>
  for (let turn = 0; turn < questions.length + 1; turn++) {
    if (turn === 1) dispatch("Backspace")
    const shown = questions[answers.length].shown
    dispatch(String(1 + shown.indexOf(shown.includes("real") ? "real" : "ours")))
  }
  function dispatch(key) { document.dispatchEvent(new KeyboardEvent("keydown", { key })) }
  saved = true
  document.body.dataset.csv = csv()
</script>
"""


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((16, 16, 3), grey, np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three questions in two folders: which is real of two and of three, and which looks more like somebody."""
    study = tmp_path / "study"
    for name, grey in (("real", 10), ("ours", 20)):
        picture(study / "ada" / f"{name}.png", grey)
    for name, grey in (("real", 30), ("ours", 40), ("baseline", 50), ("reference", 60)):
        picture(study / "bob, 2nd" / f"{name}.png", grey)
    return study


def answers(folder: Path, path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study", "question", "asks", "chosen"])
        writer.writerows([study_id(find_questions(folder)), *row] for row in rows)
    return path


def test_folders_are_questions(folder: Path) -> None:
    questions = find_questions(folder)
    assert [(question.name, question.asks, sorted(question.choices)) for question in questions] == [
        ("ada", "real", ["ours", "real"]),
        ("bob, 2nd", "real", ["baseline", "ours", "real"]),
        ("bob, 2nd", "likeness", ["baseline", "ours"]),
    ]


def test_page_holds_everything_and_names_no_file(folder: Path) -> None:
    page, _ = write_page(folder)
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=|\.png", text)
    assert text.count('"image/png"') == 6
    assert sorted(path.name for path in folder.iterdir()) == ["ada", "bob, 2nd", "study.html"]
    write_page(folder)  # what was written is no question


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser")
def test_page_in_a_browser(folder: Path, tmp_path: Path) -> None:
    page, _ = write_page(folder)
    visited = tmp_path / "visited.html"
    visited.write_text(page.read_text(encoding="utf-8").replace("</html>", VISITOR + "</html>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*map(str, command), "--dump-dom", visited.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Accuracy: the real one was found" in done.stdout
    assert "<td>2 of 2</td>" in done.stdout
    saved = re.search(r'data-csv="([^"]*(?:&quot;[^"]*)*)"', done.stdout)
    assert saved is not None
    file = tmp_path / "answers.csv"
    file.write_text(saved[1].replace("&quot;", '"'), encoding="utf-8", newline="")
    shares = {(share.asks, share.choice): (share.chosen, share.shown) for share in tally(folder, [file])}
    assert shares == {
        ("real", "real"): (2, 2),
        ("real", "ours"): (0, 2),
        ("real", "baseline"): (0, 1),
        ("likeness", "ours"): (1, 1),
        ("likeness", "baseline"): (0, 1),
    }


def test_answers_of_several_people_are_counted_together(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answers(folder, tmp_path / "1.csv", [("ada", "real", "real"), ("bob, 2nd", "real", "ours")])
    two = answers(folder, tmp_path / "2.csv", [("ada", "real", "real"), ("bob, 2nd", "likeness", "ours")])
    command = ["study", str(folder), "--answers", str(one), "--answers", str(two)]
    assert main([*command, "--json"]) == 0
    shares = {(row["asks"], row["choice"]): row for row in json.loads(capsys.readouterr().out)}
    accuracy = shares["real", "real"]
    assert (accuracy["chosen"], accuracy["shown"]) == (2, 3)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(wilson(2, 3))
    assert (shares["real", "ours"]["chosen"], shares["real", "ours"]["shown"]) == (1, 3)
    assert main(command) == 0
    assert "accuracy: the real one was found in 2 of 3: 66.7 % (95 % interval 20.8 to 93.9)" in capsys.readouterr().out


def test_wilson_interval() -> None:
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "holds no questions"),
        (["q/real.png"], "asks nothing"),
        (["q/reference.png", "q/ours.png"], "asks nothing"),
        (["q/real.png", "q/ours.png", "q/ours.jpg"], "two files for ours"),
        (["q/real.png", "q/notes.txt"], "notes.txt"),
    ],
)
def test_folders_that_ask_nothing(
    files: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    assert main(["study", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert said in line
    assert not (tmp_path / "study.html").exists()


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no folder"):
        write_page(tmp_path / "nowhere")


def test_answers_that_are_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="other questions"):
        tally(folder, [answers(folder, tmp_path / "a.csv", [("eve", "real", "real")])])
    with pytest.raises(StudyError, match="other questions"):
        tally(folder, [answers(folder, tmp_path / "b.csv", [("ada", "real", "theirs")])])
    with pytest.raises(StudyError, match="columns"):
        tally(folder, [answers(folder, tmp_path / "c.csv", [])])
    with pytest.raises(StudyError, match="cannot be read"):
        tally(folder, [tmp_path / "d.csv"])
    binary = tmp_path / "e.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="no file of answers"):
        tally(folder, [binary])
