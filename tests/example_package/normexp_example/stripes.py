"""Horizontal and vertical stripes with noise."""

from normexp.data.base import Arrays, DataSet


def load(config, folder):
    import numpy as np

    rng = np.random.default_rng(0)
    labels = np.arange(1200, dtype=np.int64) % 2
    rows = np.broadcast_to(np.arange(8)[:, None] % 2 * 128, (8, 8))
    images = np.stack([rows if label else rows.T for label in labels])[:, None]  # (N, C, H, W)
    images = (images + rng.integers(0, 128, images.shape)).astype(np.uint8)
    return Arrays(images[:1000], labels[:1000], images[1000:], labels[1000:], scale=255)


ENTRY = DataSet(
    name="stripes",
    title="stripes",
    shape=(1, 8, 8),
    class_names=("vertical", "horizontal"),
    train_samples=1000,
    test_samples=200,
    epochs=5,
    pad=1,
    load=load,
)
