"""Shifted images, against NumPy and SciPy."""

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage

from normexp.data import shifts
from normexp.training.evaluation_options import TYPES

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 12, 9), dtype=np.uint8)


def shift(kind, severity=3, *, images=IMAGES, scale=255, seed=0):
    return shifts.shifted(torch.from_numpy(images), scale, kind=kind, severity=severity, seed=seed).numpy()


def as_bytes(values):
    return np.clip(values, 0, 1) * 255


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("kind", ["invert", "contrast", "brightness", "blur"])
def test_values(kind, severity):
    x = IMAGES / 255
    mean = x.mean((2, 3), keepdims=True)
    factor, offset, sigma = {1: (0.8, 0.1, 0.5), 5: (0.1, 0.5, 2.0)}[severity]
    expected = {
        "invert": 1 - x,
        "contrast": mean + factor * (x - mean),
        "brightness": x + offset,
        "blur": ndimage.gaussian_filter(x, sigma, mode="nearest", axes=(2, 3)),
    }[kind]
    shifted = shift(kind, severity)
    assert shifted.dtype == np.uint8
    assert np.abs(shifted - as_bytes(expected)).max() <= 0.51  # rounded


@pytest.mark.parametrize("severity", [1, 5])
def test_rotations_go_both_ways(severity):
    """On oblong images, too. Each is one of two rotations by SciPy; both directions occur."""
    images = IMAGES.astype(np.float32) / 255
    angle = np.deg2rad({1: 10, 5: 60}[severity])
    turned = shift("rotate", severity, images=np.repeat(images, 3, 0), scale=1)
    center, found = (np.array(images.shape[2:]) - 1) / 2, set()
    for i, image in enumerate(np.repeat(images, 3, 0)):
        for sign in (-1, 1):
            c, s = np.cos(angle), sign * np.sin(angle)
            matrix = np.array([[c, s], [-s, c]])
            offset = center - matrix @ center
            expected = [ndimage.affine_transform(x, matrix, offset, order=1, mode="grid-constant") for x in image]
            if np.allclose(turned[i], expected, atol=1e-5):
                found.add((i, sign))
    assert len(found) == len(turned)
    assert {sign for _, sign in found} == {-1, 1}


def test_noise_is_normal_and_seeded():
    gray = np.full((600, 1, 16, 16), 0.5, dtype=np.float32)  # more than one chunk
    noise = shift("noise", 2, images=gray, scale=1) - 0.5
    assert abs(noise.mean()) < 0.001
    assert abs(noise.std() - 0.1) < 0.001
    assert abs(np.corrcoef(noise[:500].ravel(), np.roll(noise, -100, 0)[:500].ravel())[0, 1]) < 0.02
    assert np.array_equal(noise, shift("noise", 2, images=gray, scale=1) - 0.5)
    assert not np.array_equal(noise, shift("noise", 2, images=gray, scale=1, seed=1) - 0.5)


@pytest.mark.parametrize("kind", shifts.SHIFTS)
def test_values_stay_in_range(kind):
    """Also of digits, whose bytes go to 16: too coarse to be rounded again."""
    for severity in (1, 5):
        shifted = shift(kind, severity, images=IMAGES % 17, scale=16)
        assert shifted.dtype == np.float32
        assert shifted.min() >= 0
        assert shifted.max() <= 16


def test_the_options_name_all_shifts():
    literal, _ = get_args(TYPES["shift"][0])
    assert get_args(literal) == tuple(shifts.SHIFTS)
