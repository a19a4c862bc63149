"""Metrics of each epoch, and of every tenth batch, of a Keras model."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_diabetes

import mlog
from mlog.keras import MLogCallback

x, y = load_diabetes(return_X_y=True)
model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")

with mlog.start_run("diabetes-keras") as run:
    callback = MLogCallback(batches=10, store_model=True)
    model.fit(x, y, epochs=3, validation_split=0.2, verbose=0, callbacks=[callback])

print(sorted(run.get_metrics()), run.get_file_names())
