"""What can be done with one portrait of the strip: the actions of its context menu and their keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QImageReader, QKeySequence
from PySide6.QtWidgets import QDialog, QFileDialog, QInputDialog, QMessageBox, QPushButton, QWidget

from puppet.library import Entry, Library
from ui.adding import Adding
from ui.backstage import Tuning
from ui.further import Further
from ui.language import tr
from ui.tuning import TuningDialog

PICTURES = "*.jpg *.jpeg *.png *.webp *.bmp *.tif *.tiff *.gif"
VIDEOS = "*.mp4 *.m4v *.mov *.webm *.mkv *.avi *.mpg *.mpeg *.wmv"


def choose_pictures(parent: QWidget, title: str, add: Callable[[list[Path]], None], *, videos: bool = False) -> None:
    """Open a dialog for picture files, or `videos` as well, and `add` those that are chosen."""

    def chosen(names: list[str]) -> None:
        add([Path(name) for name in names])

    kinds = f"{tr('Pictures and videos')} ({PICTURES} {VIDEOS})" if videos else f"{tr('Pictures')} ({PICTURES})"
    dialog = QFileDialog(parent, title, filter=kinds)
    dialog.setOption(QFileDialog.Option.HideNameFilterDetails)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.filesSelected.connect(chosen)
    dialog.open()


class PortraitActions:
    """Makes the actions.

    change: runs what it is given in the background, and shows the library again after it. renew: does so for the
    portrait of a key which is to be painted otherwise from now on.
    """

    def __init__(
        self,
        library: Library,
        adding: Adding,
        further: Further,
        *,
        tuning: Tuning | None,
        change: Callable[[Callable[[], object]], None],
        renew: Callable[[str], None],
        parent: QWidget,
    ) -> None:
        self._library, self._adding, self._further, self._tuning = library, adding, further, tuning
        self._change, self._renew, self._parent = change, renew, parent
        self.dialog: TuningDialog | None = None  # the one that is open

    def of(self, entry: Entry, owner: QWidget) -> list[QAction]:
        """From first to last; their keys work while `owner` has the focus."""

        def action(text: str, do: Callable[[], None], key: str = "") -> QAction:
            made = QAction(text, owner)
            made.triggered.connect(lambda: do())
            made.setShortcut(QKeySequence(key))
            made.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            return made

        details = action(tr("Details …"), partial(self._show_details, entry))
        if not entry.kept:
            return [details]
        tuning = [action(tr("Tune to this person …"), partial(self._tune, entry, self._tuning))] if self._tuning else []
        if entry.tuned:
            tuning.append(action(tr("Forget the tuning …"), partial(self._forget, entry)))
        further = [action(tr("Remove the added pictures …"), partial(self._remove_more, entry))] if entry.more else []
        line = QAction(owner)
        line.setSeparator(True)
        return [
            action(tr("Rename …"), partial(self._rename, entry), "F2"),
            action(tr("Crop again …"), partial(self._adding.change, entry, "crop")),
            action(tr("Choose the face …"), partial(self._adding.change, entry, "face")),
            action(tr("Mark the face by hand …"), partial(self._adding.change, entry, "markers")),
            action(tr("Add pictures or a video of the same person …"), partial(self._add_more, entry)),
            *further,
            *tuning,
            action(tr("Move left"), partial(self._move, entry, -1), "Ctrl+Left"),
            action(tr("Move right"), partial(self._move, entry, 1), "Ctrl+Right"),
            details,
            line,
            action(tr("Remove …"), partial(self._remove, entry), "Del"),
        ]

    def close(self) -> None:
        """Give up the tuning that is under way, if one is."""
        if self.dialog is not None:
            self.dialog.close_down()
            self.dialog.done(QDialog.DialogCode.Rejected)

    def _rename(self, entry: Entry) -> None:
        dialog = QInputDialog(self._parent)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(tr("Rename the portrait"))
        dialog.setLabelText(tr("Name"))
        dialog.setTextValue(entry.name)
        dialog.textValueSelected.connect(lambda name: self._change(lambda: self._library.rename(entry, name)))
        dialog.open()

    def _move(self, entry: Entry, step: int) -> None:
        def move() -> None:
            own = [each.key for each in self._library.entries() if each.kept]
            self._library.move(entry, max(own.index(entry.key) + step, 0))

        self._change(move)

    def _add_more(self, entry: Entry) -> None:
        choose_pictures(
            self._parent,
            tr("Choose pictures and videos of {name}").format(name=entry.name),
            partial(self._further.add, entry),
            videos=True,
        )

    def _remove_more(self, entry: Entry) -> None:
        question = tr("Show {name} without the pictures that were added, {count} of them?")
        box = self._box(tr("Remove the added pictures"), question.format(name=entry.name, count=len(entry.more)))
        remove = _add_danger(box, tr("Remove"))
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        remove.clicked.connect(lambda: self._change(lambda: self._library.remove_more(entry)))
        remove.clicked.connect(lambda: self._renew(entry.key))
        box.open()

    def _tune(self, entry: Entry, tuning: Tuning) -> None:
        if self.dialog is not None:  # one at a time
            self.dialog.raise_()
            self.dialog.activateWindow()
            return
        self.dialog = dialog = TuningDialog(entry, library=self._library, tuning=tuning, parent=self._parent)

        def finished() -> None:
            self.dialog = None
            dialog.deleteLater()

        dialog.kept.connect(lambda: self._renew(entry.key))
        dialog.finished.connect(finished)
        dialog.show()

    def _forget(self, entry: Entry) -> None:
        box = self._box(tr("Forget the tuning"), tr("Show {name} as before it was tuned?").format(name=entry.name))
        forget = _add_danger(box, tr("Forget"))
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        forget.clicked.connect(lambda: self._change(lambda: self._library.forget_tuning(entry)))
        forget.clicked.connect(lambda: self._renew(entry.key))
        box.open()

    def _remove(self, entry: Entry) -> None:
        box = self._box(tr("Remove the portrait"), tr("Remove {name} with all its pictures?").format(name=entry.name))
        remove = _add_danger(box, tr("Remove"))
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        remove.clicked.connect(lambda: self._change(lambda: self._library.remove(entry)))
        box.open()

    def _show_details(self, entry: Entry) -> None:
        size = QImageReader(str(entry.picture)).size()
        lines = [
            entry.name,
            tr("{width} x {height} px").format(width=size.width(), height=size.height()),
            tr("Added on {day}").format(day=f"{entry.added:%Y-%m-%d}") if entry.added else tr("Comes with Puppet"),
            tr("More pictures of the same person: {count}").format(count=len(entry.more)),
            *([tr("Tuned to this person")] if entry.tuned else []),
            str(entry.picture),
        ]
        box = self._box(tr("Details"), "\n".join(lines))
        box.addButton(QMessageBox.StandardButton.Close)
        box.open()

    def _box(self, title: str, text: str) -> QMessageBox:
        box = QMessageBox(self._parent)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setTextFormat(Qt.TextFormat.PlainText)  # a name may look like markup
        box.setWindowTitle(title)
        box.setText(text)
        return box


def _add_danger(box: QMessageBox, text: str) -> QPushButton:
    button = QPushButton(text, box)  # whose it is: taking it in, the box leaves it to Python
    button.setProperty("role", "danger")  # before it is in the box, which dresses it at once
    box.addButton(button, QMessageBox.ButtonRole.DestructiveRole)
    return button
