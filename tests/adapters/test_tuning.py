"""Optuna and FLAML, with the real libraries: trials as they end."""

import logging
from typing import Any

import pytest

import mlog

sklearn = pytest.importorskip("sklearn.datasets")


class TestOptuna:
    @pytest.fixture
    def study(self) -> Any:
        optuna = pytest.importorskip("optuna")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(direction="minimize")

    def test_each_trial_is_a_child_with_params_value_and_state(
        self, study: Any
    ) -> None:
        import optuna

        from mlog.optuna import MLogCallback

        def objective(trial: Any) -> float:
            x = trial.suggest_float("x", -1, 1)
            trial.report(x + 1, 10)
            if trial.number == 1:
                raise optuna.TrialPruned
            if trial.number == 2:
                raise ValueError("diverged")
            return float(x * x)

        with mlog.start_run("e") as run:
            callback = MLogCallback(metrics="loss")
            study.optimize(objective, 4, callbacks=[callback], catch=ValueError)
        children = {child.tags["trial"]: child for child in run.get_children()}
        states = [children[str(n)].tags["state"] for n in range(4)]
        assert states == ["complete", "pruned", "fail", "complete"]
        statuses = [children[str(n)].status for n in range(4)]
        assert statuses == ["Completed", "Completed", "Failed", "Completed"]
        for trial in study.trials:
            child = children[str(trial.number)]
            assert child.params == trial.params
            history = child.history("intermediate/loss")
            assert (list(history.steps), list(history.values)) == (
                [10],
                [trial.params["x"] + 1],
            )
        assert children["3"].get_metrics("loss") == {"loss": study.trials[3].value}
        assert list(run.history("best/loss").values)[-1] == study.best_value

    def test_trials_of_several_threads_are_kept_apart(self, study: Any) -> None:
        from mlog.optuna import MLogCallback

        with mlog.start_run("e") as run:
            study.optimize(
                lambda trial: trial.suggest_int("n", 0, 100),
                12,
                n_jobs=4,
                callbacks=[MLogCallback(run)],
            )
        found = [child.get_metrics("value")["value"] for child in run.get_children()]
        assert sorted(found) == sorted(trial.value for trial in study.trials)

    def test_several_objectives_have_names_of_their_own(self) -> None:
        optuna = pytest.importorskip("optuna")
        from mlog.optuna import MLogCallback

        study = optuna.create_study(directions=["minimize", "maximize"])
        with mlog.start_run("e") as run:
            callback = MLogCallback(metrics=["loss", "accuracy"])
            study.optimize(lambda trial: (0.5, 0.9), 1, callbacks=[callback])
        (child,) = run.get_children()
        found = child.get_metrics()
        assert (found["loss"], found["accuracy"]) == (0.5, 0.9)


class TestFLAML:
    def test_each_trial_is_logged_with_learner_and_configuration(self) -> None:
        flaml = pytest.importorskip("flaml")
        pytest.importorskip("lightgbm")
        if not hasattr(flaml, "AutoML"):
            pytest.skip("flaml is there without its extra [automl]")
        from mlog.flaml import watch

        x, y = sklearn.load_diabetes(return_X_y=True)
        with mlog.start_run("e") as run:
            automl = watch(flaml.AutoML())
            automl.fit(
                x, y, task="regression", max_iter=3, estimator_list=["lgbm"], verbose=1
            )
        assert "fit" not in vars(automl)
        losses = run.history("trial/validation_loss")
        assert sorted(losses.steps) == [0, 1, 2]
        assert min(losses.values) == automl.best_loss
        rows = run.get_metrics("trials")["trials"]
        assert rows["learner"] == ["lgbm"] * 3
        assert run.params["best_config"] == automl.best_config
        assert list(run.entries("logs", logger="flaml*"))

    def test_its_loggers_are_as_they_were(self) -> None:
        from mlog.flaml import watch

        class Stands:
            """Stands for an AutoML whose fit fails at once, which a real one cannot."""

            def fit(self, **kwargs: Any) -> None:
                raise RuntimeError(f"no data in {sorted(kwargs)}")

        before = list(logging.getLogger("flaml.automl.logger").filters)
        with pytest.raises(RuntimeError, match="log_file_name"):
            watch(Stands()).fit()
        assert logging.getLogger("flaml.automl.logger").filters == before
        assert mlog.open_run("latest").status == "Failed"
