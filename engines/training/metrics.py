"""How good a drawn video is: pictures, landmarks and identities of two videos compared, as pure functions on arrays.

Pictures are (N, H, W, 3) uint8 RGB; points are (N, 478, 3) float32 px, MediaPipe's; rows belong together.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

from engines.training.perceptual import PerceptualNet
from puppet import facemesh
from puppet.types import Floats

Images = NDArray[np.uint8]

MESH_COUNT = 468  # the irises come after; they have their own metric
# Pairs of points: of the lids (eye at the picture's left first) and of the inner lips, upper and lower.
LIDS = np.stack([np.array(facemesh.LID_UPPER)[:, 3:6], np.array(facemesh.LID_LOWER)[:, 3:6]], axis=2)  # (2, 3, 2)
INNER_LIPS = np.stack([facemesh.LIP_INNER_UPPER[4:7], facemesh.LIP_INNER_LOWER[4:7]], axis=1)  # (3, 2)
EYE_CORNERS = np.array(facemesh.LID_UPPER)[:, [0, -1]]  # (2, 2)
IRISES = np.array(facemesh.IRIS)[:, 0]
FACE_TOP = 10


def psnr(a: Images, b: Images) -> Floats:
    """Peak signal-to-noise ratio in dB, (N,); infinite for equal pictures."""
    error = (a.astype(np.float32) - b.astype(np.float32)) ** 2
    with np.errstate(divide="ignore"):
        return (10 * np.log10(255.0**2 / error.mean((1, 2, 3)))).astype(np.float32)


def ssim(a: Images, b: Images) -> Floats:
    """Structural similarity, (N,), with the Gaussian window of Wang et al. 2004 (sigma 1.5), mean over RGB."""
    return np.array(
        [
            structural_similarity(
                one, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for one, other in zip(a, b, strict=True)
        ],
        np.float32,
    )


@torch.inference_mode()
def lpips(a: Images, b: Images, net: PerceptualNet) -> Floats:
    """Learned perceptual distance, (N,); 0 for equal pictures. `net` says which: AlexNet is the usual one."""
    batches = zip(_batches(a), _batches(b), strict=True)
    return torch.cat([net.lpips(one, other) for one, other in batches]).numpy()


@torch.inference_mode()
def vgg_features(images: Images, net: PerceptualNet) -> Floats:
    """VGG16's relu5_3, averaged over the picture: (N, 512), the space of `fid`."""
    return torch.cat([net(batch)[-1].mean((2, 3)) for batch in _batches(images)]).numpy()


def fid(a: Floats, b: Floats) -> float:
    """Fréchet distance (Heusel et al. 2017, eq. 6) of two sets of features, (N, D) and (M, D).

    In VGG16's features, as here, it is not comparable with the Inception FID of the papers.
    """
    difference = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False).astype(np.float64), np.cov(b, rowvar=False).astype(np.float64)
    variances, axes = np.linalg.eigh(cov_a)
    root = (axes * np.sqrt(np.clip(variances, 0, None))) @ axes.T
    # The trace of (cov_a cov_b)^½, by a symmetric matrix of the same eigenvalues; few pictures make both singular.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def landmark_distance(a: Floats, b: Floats) -> Floats:
    """Mean distance of the mesh's points in the picture, px, (N,)."""
    return np.linalg.norm(a[:, :MESH_COUNT, :2] - b[:, :MESH_COUNT, :2], axis=2).mean(1).astype(np.float32)


def mouth_opening(points: Floats) -> Floats:
    """Gap of the inner lips / height of the face, (N,)."""
    gap = np.linalg.norm(points[:, INNER_LIPS[:, 0], :2] - points[:, INNER_LIPS[:, 1], :2], axis=2).mean(1)
    return (gap / np.linalg.norm(points[:, FACE_TOP] - points[:, facemesh.CHIN], axis=1)).astype(np.float32)


def eye_opening(points: Floats) -> Floats:
    """Gap of the lids / width of the eye, (N, 2)."""
    gap = np.linalg.norm(points[:, LIDS[..., 0], :2] - points[:, LIDS[..., 1], :2], axis=3).mean(2)
    return (gap / _eye_width(points)).astype(np.float32)


def gaze(points: Floats) -> Floats:
    """Shift of the irises from the middle of the eye's corners in widths of the eye, (N, 2).

    The mean of both eyes, along and across the line of the corners.
    """
    start, end = points[:, EYE_CORNERS[:, 0], :2], points[:, EYE_CORNERS[:, 1], :2]
    width = _eye_width(points)[..., None]
    along = (end - start) / np.linalg.norm(end - start, axis=2, keepdims=True)
    across = np.stack([-along[..., 1], along[..., 0]], axis=2)
    shift = (points[:, IRISES, :2] - (start + end) / 2) / width
    return np.stack([(shift * along).sum(2), (shift * across).sum(2)], axis=2).mean(1).astype(np.float32)


def head_angles(pose: Floats) -> Floats:
    """Yaw, pitch and roll in degrees, (N, 3), of head poses (N, 4, 4) (FaceLandmarker's; y up, z to the viewer)."""
    rotation = pose[:, :3, :3] / np.linalg.norm(pose[:, :3, :3], axis=1, keepdims=True)
    yaw = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    pitch = np.arcsin(np.clip(-rotation[:, 1, 2], -1, 1))
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1)).astype(np.float32)


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r of two series, (N,); not a number where one of them does not move."""
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0 else float("nan")


def _eye_width(points: Floats) -> Floats:
    # In three dimensions, so that it does not shrink as the head turns.
    return np.linalg.norm(points[:, EYE_CORNERS[:, 0]] - points[:, EYE_CORNERS[:, 1]], axis=2)


def _batches(images: Images, size: int = 16) -> list[Tensor]:
    return [
        torch.from_numpy(images[start : start + size].copy()).permute(0, 3, 1, 2).float() / 255
        for start in range(0, len(images), size)
    ]
