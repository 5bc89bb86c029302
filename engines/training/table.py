"""The paper's Table 1: an engine with T pictures of a person, fed forward and tuned, beside others with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from engines import EngineUnavailable
from engines.training.evaluation import Contestant, Summary
from engines.training.models import MODELS
from engines.training.painters import engine_painter, model_painter, static_painter, tuned_painter
from engines.weights import WeightsError
from puppet.types import Engine

SHOTS: Final = (1, 8, 32)
TITLES: Final[Mapping[str, str]] = {
    "static": "doing nothing",
    "x2face": "X2Face-like",
    "pix2pixhd": "pix2pixHD-like",
    "paper": "the paper's generator",
    "paper-128": "the paper's generator, 128 px",
    "tuned": "the same, tuned",
}


def contestants(
    engine: Engine,
    rivals: Sequence[Path] = (),
    *,
    shots: Sequence[int] = SHOTS,
    warp: Engine | None = None,
    tuned_from: Path | None = None,
) -> list[Contestant]:
    """The rows: doing nothing, the rivals, the warp engine if it is given, the engine.

    `rivals` are weights of `models.MODELS`, made by training. With `tuned_from`, the engine's weights, it is also tuned
    to each portrait, which takes minutes each. Raises WeightsError if the rivals are none, and EngineUnavailable if the
    engine cannot be tuned.
    """
    if tuned_from and engine.name != "neural":
        raise EngineUnavailable(f"The engine {engine.name} cannot be tuned; name the neural engine, or its weights.")
    others = [warp] if warp and warp.name != engine.name else []
    return [
        Contestant("static", static_painter),
        *(Contestant(name := _model_of(path), model_painter(name, path)) for path in rivals),
        *(Contestant(other.name, engine_painter(other)) for other in others),
        *(Contestant(engine.name, engine_painter(engine), count) for count in shots),
        *(Contestant("tuned", tuned_painter(tuned_from), count) for count in shots if tuned_from),
    ]


def as_text(summaries: Sequence[Summary]) -> str:
    """The table's columns, aligned.

    FID is of VGG16's features, LPIPS of AlexNet's; dlib's cosine is the identity with the portrait, and the likeness
    with the true frame, from which dlib's descriptor has the distance.
    """
    rows = [("", "T", "FID", "SSIM", "LPIPS", "identity", "likeness", "distance")]
    rows += [
        (
            TITLES.get(each.engine, f"{each.engine} engine"),
            str(each.shots),
            f"{each.fid_vgg16:.2f}",
            f"{each.ssim:.3f}",
            f"{each.lpips:.3f}",
            f"{each.identity:.3f}",
            f"{each.likeness:.3f}",
            f"{each.identity_distance:.3f}",
        )
        for each in summaries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for title, *cells in rows:
        lines.append("  ".join([title.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]))
    return "\n".join(lines)


def _model_of(path: Path) -> str:
    try:
        with safe_open(path, "numpy") as file:
            name = (file.metadata() or {}).get("model", "")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The weights {path} cannot be read ({error}); give a file made by training.") from error
    if name == "ours" or name not in MODELS:
        raise WeightsError(
            f"{path} holds no rival of the generator; give weights of a model that `puppet train` names."
        )
    return name
