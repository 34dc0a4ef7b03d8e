"""Small real data sets that come with installed packages; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nested_keras import extras


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled image set, split for training and testing.

    Attributes:
        x_train: float32 [n, height, width, channels].
        y_train: int32 [n], class indices.
        x_test: float32 [m, height, width, channels].
        y_test: int32 [m].
        num_classes: Number of classes.
    """

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int32]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int32]
    num_classes: int


def digits(*, test_size: int = 500, seed: int = 0) -> Dataset:
    """Returns the handwritten digits of the UCI repository from scikit-learn.

    1,797 grey images of 8x8 pixels, 10 classes, scaled to [0, 1].

    Args:
        test_size: Images in the test split, drawn with the class shares of the whole set; 1..1796.
        seed: Seed of the split.

    Returns:
        The data set; images are [n, 8, 8, 1].

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    try:
        from sklearn import datasets, model_selection
    except ModuleNotFoundError as error:
        raise extras.missing(error, "nested_keras.datasets.digits") from error
    bunch: Any = datasets.load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = bunch.target.astype(np.int32)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        images, labels, test_size=test_size, random_state=seed, stratify=labels
    )
    return Dataset(x_train, y_train, x_test, y_test, num_classes=10)
