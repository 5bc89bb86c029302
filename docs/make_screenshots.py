"""Takes the screenshots of the window that the documentation shows: PYTHONPATH=. python docs/make_screenshots.py

On Linux without a screen: PYTHONPATH=. xvfb-run -s "-screen 0 1600x1200x24" python docs/make_screenshots.py
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QApplication

from engines import load
from puppet.library import Library
from puppet.settings import Settings, asset
from ui import app
from ui.session import Session
from ui.window import Window

FOLDER = Path(__file__).parent / "screenshots"
DRIVER = asset("sample.motion")  # nobody's picture
SHOTS: dict[str, dict[str, object]] = {
    "dark": {"window.theme": "dark"},
    "light": {"window.theme": "light", "window.portrait": "sample-painting"},
    "self-view": {"window.theme": "dark", "view.self_view": True, "view.overlay_opacity": 0.7},
    "calibration": {"window.theme": "light"},
    "small": {"window.theme": "dark", "window.width_px": 640, "window.height_px": 480, "window.panel": False},
    "chinese": {"window.theme": "light", "window.language": "zh"},
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
            if self.file.stem == "calibration":
                QTimer.singleShot(self.wait_ms // 2, self.calibrate)
            QTimer.singleShot(self.wait_ms, self._save)

    def _save(self) -> None:
        self.grab().save(str(self.file))
        print(self.file)
        self.close()


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
            app.run(settings, load_engine=load, file=Path(folder) / "settings.toml", library=Library(Path(folder)))
    application.quit()


if __name__ == "__main__":
    main()
