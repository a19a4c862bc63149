"""Keras on torch, with the real library."""

from typing import Any

import pytest

import mlog

pytest.importorskip("torch")
keras: Any = pytest.importorskip("keras")
numpy: Any = pytest.importorskip("numpy")

X = numpy.arange(40, dtype="f4").reshape(20, 2) / 40
Y = X.sum(axis=1)


@pytest.fixture
def model() -> Any:
    made = keras.Sequential([keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(0.125), "mse")
    return made


def test_epochs_are_logged_as_keras_tells_them(model: Any) -> None:
    from mlog.keras import MLogCallback

    with mlog.start_run("e") as run:
        told = model.fit(
            X,
            Y,
            epochs=3,
            validation_split=0.25,
            verbose=0,
            callbacks=[MLogCallback()],
        )
    for name in ("loss", "val_loss"):
        history = run.history(f"epoch/{name}")
        assert list(history.values) == told.history[name]
        assert list(history.steps) == [0, 1, 2]
    assert run.params["optimizer"]["learning_rate"] == 0.125
    assert "test/loss" not in run.get_metrics(), "the epoch has it"


def test_batches_are_counted_over_all_epochs(model: Any) -> None:
    from mlog.keras import MLogCallback

    with mlog.start_run("e") as run:
        callback = MLogCallback(batches=2, prefix="net")
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[callback])
    assert list(run.history("net/batch/loss").steps) == [2, 4, 6, 8]


def test_the_model_is_stored_on_request(model: Any) -> None:
    from mlog.keras import MLogCallback

    model.fit(X, Y, verbose=0, callbacks=[MLogCallback(store_model=True)])
    run = mlog.open_run("latest")
    run.download_file("model.keras", "copy.keras")
    again = keras.models.load_model("copy.keras")
    assert (again.predict(X, verbose=0) == model.predict(X, verbose=0)).all()
    assert run.status == "Completed"


def test_an_evaluation_is_logged(model: Any) -> None:
    from mlog.keras import MLogCallback

    with mlog.start_run("e") as run:
        loss = model.evaluate(X, Y, verbose=0, callbacks=[MLogCallback()])
    assert run.get_metrics() == {"test/loss": pytest.approx(loss)}


def test_batches_must_be_a_number_of_them() -> None:
    from mlog.keras import MLogCallback

    with pytest.raises(ValueError, match=r"batches must be an integer >= 0, got -1"):
        MLogCallback(batches=-1)
