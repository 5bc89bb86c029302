"""Contact sheets: faces to look at, because losses do not say what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from engines.training.data import Batch


def contact_sheet(batches: Sequence[Batch], painted: Sequence[Tensor], path: Path) -> None:
    """A row per batch: its portrait, then target, warped and painted picture of each of its first two pairs."""
    rows = []
    for batch, pictures in zip(batches, painted, strict=True):
        cells = [batch.portrait[0]]
        for index in range(min(2, len(pictures))):
            cells += [batch.target[index], batch.warped[index], pictures[index]]
        rows.append(torch.cat(cells, dim=2))
    sheet = (torch.cat(rows, dim=1).clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    path.write_bytes(encoded.tobytes())
