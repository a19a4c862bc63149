"""Data of the training script; lies beside it and is copied with it."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

Array = NDArray[np.float64]


def split(seed: int) -> tuple[Array, Array, Array, Array]:
    """Return rows to train on and to validate, then their targets."""
    x, y = load_diabetes(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, random_state=seed)
    return x_train, x_val, y_train, y_val
