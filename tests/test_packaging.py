"""What belongs to the program is there, small enough, and accounted for."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path

import numpy as np

from engines import BACKENDS
from puppet.headpose import rotation_vector
from puppet.motion import Retargeter, neutral_of
from puppet.picture import read_picture
from puppet.recording import Recording
from puppet.settings import asset, sample_portraits
from puppet.tracking import detect

ROOT = Path(__file__).parents[1]
TEST_DATA = ROOT / "tests" / "data"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_installed() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_base_install_needs_no_torch() -> None:
    assert not [need for need in PROJECT["project"]["dependencies"] if need.startswith("torch")]


def test_backends_name_our_modules() -> None:
    for reference in BACKENDS.values():
        module, _, name = reference.partition(":")
        assert module.startswith("engines.")
        assert f"class {name}" in (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


def test_every_bundled_file_has_its_origin_told() -> None:
    told = (ROOT / "LICENSES.md").read_text(encoding="utf-8")
    files = [path for folder in (asset(""), TEST_DATA) for path in folder.rglob("*") if path.is_file() and path.suffix]
    assert files
    assert not [path.name for path in files if f"{path.relative_to(ROOT).as_posix()}`" not in told]


def test_bundled_files_are_the_ones_in_the_list() -> None:
    lines = asset("SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(asset("")).as_posix(): path for path in asset("").rglob("*") if path.is_file()}
    del files["SHA256SUMS"]
    assert {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == listed


def test_test_data_is_small() -> None:
    assert sum(path.stat().st_size for path in TEST_DATA.rglob("*") if path.is_file()) < 3_000_000


def test_sample_portraits_show_one_face_each() -> None:
    assert [path.stem for path in sample_portraits()] == ["astronaut", "hopper", "painting"]
    for path in sample_portraits():
        image = read_picture(path)
        (face,) = detect(image, faces=3)
        assert np.ptp(face.points[:, 0]) > 0.2 * image.shape[1]


def test_sample_motion_starts_at_rest_and_speaks_blinks_and_turns() -> None:
    recording = Recording.load(asset("sample.motion"))
    assert 10 <= len(recording) / recording.fps <= 20
    faces = [face for face in recording if face is not None]
    assert len(faces) == len(recording)
    retargeter = Retargeter(calibration=neutral_of(faces[: round(recording.fps)]))
    motions = [retargeter(face, index=face.index, time_ns=face.time_ns) for face in faces]
    eyes = np.array([motion.eyes for motion in motions])
    turns_deg = np.degrees([rotation_vector(motion.rotation.astype(np.float64)) for motion in motions])
    lips = np.array([face.points[14, 1] - face.points[13, 1] for face in faces])
    assert eyes[:30].min() > 0.9
    blinks = np.count_nonzero(np.diff((eyes.max(axis=1) < 0.2).astype(int)) == 1)
    assert blinks >= 5
    assert np.ptp(turns_deg[:, 1]) > 35
    syllables = np.count_nonzero(np.diff((lips > 0.4 * np.percentile(lips, 95)).astype(int)) == 1)
    assert syllables >= 8
