"""XGBoost and LightGBM, with the real libraries: all evaluation sets, round by round."""

from typing import Any

import pytest

import mlog

sklearn = pytest.importorskip("sklearn.datasets")

X, Y = sklearn.load_diabetes(return_X_y=True)


class TestXGBoost:
    @pytest.fixture
    def xgboost(self) -> Any:
        return pytest.importorskip("xgboost")

    def test_every_set_and_metric_is_logged(self, xgboost: Any) -> None:
        from mlog.xgboost import MLogCallback

        train, valid = (
            xgboost.DMatrix(X[:300], Y[:300]),
            xgboost.DMatrix(X[300:], Y[300:]),
        )
        seen: dict[str, dict[str, list[float]]] = {}
        with mlog.start_run("e") as run:
            xgboost.train(
                {"eval_metric": ["rmse", "mae"]},
                train,
                4,
                evals=[(train, "train"), (valid, "valid")],
                evals_result=seen,
                callbacks=[MLogCallback(prefix="x")],
                verbose_eval=False,
            )
        for part in ("train", "valid"):
            for metric in ("rmse", "mae"):
                history = run.history(f"x/{part}/{metric}")
                assert list(history.values) == seen[part][metric]
                assert list(history.steps) == [0, 1, 2, 3]

    def test_the_round_early_stopping_found_is_told(self, xgboost: Any) -> None:
        from mlog.xgboost import MLogCallback

        train, valid = (
            xgboost.DMatrix(X[:100], Y[:100]),
            xgboost.DMatrix(X[300:], Y[300:]),
        )
        booster = xgboost.train(
            {"eta": 1.0},
            train,
            50,
            evals=[(valid, "valid")],
            callbacks=[MLogCallback()],
            early_stopping_rounds=2,
            verbose_eval=False,
        )
        run = mlog.open_run("latest")
        assert run.status == "Completed"
        assert (
            run.get_metrics("best_iteration")["best_iteration"]
            == booster.best_iteration
        )

    def test_cross_validation_logs_mean_and_deviation(self, xgboost: Any) -> None:
        from mlog.xgboost import MLogCallback

        callback = MLogCallback()
        table = xgboost.cv({}, xgboost.DMatrix(X, Y), 3, callbacks=[callback])
        found = mlog.open_run("latest").get_metrics()
        assert found["test/rmse"] == pytest.approx(list(table["test-rmse-mean"]))
        assert found["test/rmse-std"] == pytest.approx(list(table["test-rmse-std"]))


class TestLightGBM:
    @pytest.fixture
    def lightgbm(self) -> Any:
        return pytest.importorskip("lightgbm")

    def test_every_set_and_metric_is_logged(self, lightgbm: Any) -> None:
        from mlog.lightgbm import MLogCallback

        train = lightgbm.Dataset(X[:300], Y[:300])
        valid = lightgbm.Dataset(X[300:], Y[300:], reference=train)
        seen: dict[str, dict[str, list[float]]] = {}
        with mlog.start_run("e") as run:
            lightgbm.train(
                {"metric": ["rmse", "mae"], "verbosity": -1},
                train,
                4,
                valid_sets=[train, valid],
                valid_names=["train", "valid"],
                callbacks=[MLogCallback(), lightgbm.record_evaluation(seen)],
            )
        for part, metrics in seen.items():
            for metric, values in metrics.items():
                history = run.history(f"{part}/{metric}")
                assert list(history.values) == values
                assert list(history.steps) == [0, 1, 2, 3]

    def test_each_training_has_a_run_of_its_own(self, lightgbm: Any) -> None:
        from mlog.lightgbm import MLogCallback

        callback, valid = MLogCallback(), lightgbm.Dataset(X, Y)
        for _ in range(2):
            lightgbm.train(
                {"verbosity": -1}, valid, 2, valid_sets=[valid], callbacks=[callback]
            )
        assert [run.status for run in mlog.runs()] == ["Completed"] * 2

    def test_cross_validation_logs_mean_and_deviation(self, lightgbm: Any) -> None:
        from mlog.lightgbm import MLogCallback

        found = lightgbm.cv(
            {"verbosity": -1},
            lightgbm.Dataset(X, Y),
            3,
            stratified=False,
            callbacks=[MLogCallback()],
        )
        metrics = mlog.open_run("latest").get_metrics()
        assert metrics["valid/l2"] == found["valid l2-mean"]
        assert metrics["valid/l2-std"] == found["valid l2-stdv"]
