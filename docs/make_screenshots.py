"""Takes the screenshots of the window that the documentation shows: PYTHONPATH=. python docs/make_screenshots.py

On Linux without a screen: PYTHONPATH=. xvfb-run -s "-screen 0 1600x1200x24" python docs/make_screenshots.py
The one called tuning needs the extra `train`, and some minutes: a person's pictures are really tuned to.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image as Pictures
from PySide6.QtCore import QTimer
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QApplication, QProgressBar, QPushButton, QWidget

from engines import load
from puppet.album import look_through
from puppet.library import Library
from puppet.settings import Settings, asset
from puppet.video import VideoFile
from puppet.workbench import Tuning
from ui import app
from ui.session import Session
from ui.tuning import TuningDialog
from ui.window import Window

FOLDER = Path(__file__).parent / "screenshots"
DRIVER = asset("sample.motion")  # nobody's picture
CLIP = Path(__file__).parents[1] / "tests" / "data" / "turn.mp4"  # of a person to be tuned to
SHOTS: dict[str, dict[str, object]] = {
    "dark": {"window.theme": "dark"},
    "light": {"window.theme": "light", "window.portrait": "sample-painting"},
    "self-view": {"window.theme": "dark", "view.self_view": True, "view.overlay_opacity": 0.7},
    "calibration": {"window.theme": "light"},
    "small": {"window.theme": "dark", "window.width_px": 640, "window.height_px": 480, "window.panel": False},
    "chinese": {"window.theme": "light", "window.language": "zh"},
    "tuning": {"window.theme": "dark"},
}


class Photographed(Window):
    """Saves its picture as `file` once the portrait has been alive for a while, and closes."""

    file: Path
    wait_ms: int

    def __init__(self, session: Session, *, keep: Callable[[Settings], None]) -> None:
        super().__init__(session, keep=keep)
        self._poll = QTimer(self)
        self._poll.setInterval(200)
        self._poll.timeout.connect(self._look_again)
        self._poll.start()

    def _look_again(self) -> None:
        if self.session.is_running:
            self._poll.stop()
            if self.file.stem == "tuning":
                self._tune()
                return
            if self.file.stem == "calibration":
                QTimer.singleShot(self.wait_ms // 2, self.calibrate)
            QTimer.singleShot(self.wait_ms, lambda: self._save(self))

    def _save(self, shown: QWidget) -> None:
        shown.grab().save(str(self.file))
        print(self.file)
        self.close()

    def _tune(self) -> None:
        """Save the dialog a while after the tuning, when it compares; the window stops meanwhile, for the speed."""
        assert self.session.entry is not None
        self.session.stop()
        dialog = TuningDialog(self.session.entry, library=self.session.library, tuning=Tuning(), parent=self)
        dialog.show()
        next(button for button in dialog.findChildren(QPushButton) if button.isDefault()).click()
        waiting = QTimer(self)

        def look() -> None:
            if not dialog.findChild(QProgressBar).isVisible():
                waiting.stop()
                QTimer.singleShot(self.wait_ms, lambda: self._save(dialog))

        waiting.timeout.connect(look)
        waiting.start(200)


def keep_person(library: Library, folder: Path) -> str:
    """The key of a portrait of the clip's person, with further pictures."""
    Pictures.fromarray(next(iter(VideoFile(CLIP))).image).save(folder / "ada.png")
    entry = library.add(folder / "ada.png", name="Ada")
    for shot in look_through([CLIP], path=entry.picture).usable:
        entry = library.add_frame(entry, shot.image)
    return entry.key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shots", nargs="*", default=list(SHOTS), help=f"of {', '.join(SHOTS)}; all by default")
    parser.add_argument("--wait", type=float, default=4.0, metavar="S", help="from the first frame to the picture")
    args = parser.parse_args()
    application = QApplication(["puppet"])
    if not QFontDatabase.families(QFontDatabase.WritingSystem.SimplifiedChinese):
        print("There is no Chinese font here, so that the picture called chinese is left out.")
        args.shots = [name for name in args.shots if name != "chinese"]
    FOLDER.mkdir(exist_ok=True)
    app.Window = Photographed
    for name in args.shots:
        Photographed.file, Photographed.wait_ms = FOLDER / f"{name}.png", round(1000 * args.wait)
        settings = Settings().changed({"camera.device": str(DRIVER), **SHOTS[name]})
        with tempfile.TemporaryDirectory() as folder:
            library = Library(Path(folder))
            if name == "tuning":
                settings = settings.changed({"window.portrait": keep_person(library, Path(folder))})
            app.run(settings, load_engine=load, file=Path(folder) / "settings.toml", library=library)
    application.quit()


if __name__ == "__main__":
    main()
