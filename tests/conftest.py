"""What every test stands on: no screen needed, nothing of the user's touched."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engines.training.perceptual import PerceptualNet

if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2  # noqa: F401 - points Qt to its own plugins, which must be undone before anything starts Qt

for name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches and settings of the tests, and of the programs that they start, lie in a folder of their own."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            environment.setenv(name, str(home))
        _remember_a_slow_computer()
        yield


def _remember_a_slow_computer() -> None:
    """Whatever this one is: in the tests, and in the programs that they start, "auto" takes the warp engine."""
    from engines import EngineUnavailable, neural

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "_pace_ms", lambda: 1000.0)
        with pytest.raises(EngineUnavailable):
            neural.NeuralEngine.unasked(live=True)


@pytest.fixture(autouse=True)
def _garbage_of_windows(request: pytest.FixtureRequest) -> Iterator[None]:
    """As in the program, what a window leaves is destroyed in its own thread (`ui.collector`)."""
    if "qapp" not in request.fixturenames:
        yield
        return
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(scope="session")
def data() -> Path:
    """tests/data: face.mp4 (a face, with sound), turn.mp4 (it turns and blinks), no_face.mp4, group.jpg (two faces)."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def load_features() -> Callable[[str], PerceptualNet]:
    """In place of `PerceptualNet.load`: random networks, without the packages that hold the true ones' weights."""
    import torch

    from engines.training.perceptual import PerceptualNet

    def load(net: str) -> PerceptualNet:
        torch.manual_seed(1)
        module = PerceptualNet(net)  # type: ignore[arg-type]
        for head in module.heads:
            torch.nn.init.constant_(head.weight, 1 / head.in_channels)
        return module.requires_grad_(False).eval()

    return load


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights whose generator does something, and their graphs; not to be written to."""
    import torch
    from safetensors.torch import save_file

    from engines import build, geometry
    from engines.training.models import WarpFed
    from engines.weights import NETWORK_VERSION

    torch.manual_seed(0)
    model = WarpFed()
    torch.nn.init.normal_(model.rig.last.weight, std=0.01)
    torch.nn.init.normal_(model.generator.flow.weight, std=0.05)
    torch.nn.init.normal_(model.generator.residual.weight, std=0.008)
    tensors = {name: value.half() for name, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "ours.safetensors"
    metadata = {"model": "ours", "network": str(NETWORK_VERSION), "geometry": str(geometry.VERSION)}
    save_file(tensors, path, metadata=metadata)
    build.build(path)
    return path
