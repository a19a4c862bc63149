"""Sweep a Ridge regression over alpha on scikit-learn's diabetes data.

All that the training code knows of mlog is `metric=` and `step=`.
"""

import logging

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import mlog

logger = logging.getLogger(__name__)


def train() -> float:
    """Fit one model per alpha and return the best alpha by validation score."""
    x, y = load_diabetes(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, random_state=0)
    logger.info("%d rows to train on, %d to validate", len(x_train), len(x_val))
    scores: dict[float, float] = {}
    for step, alpha in enumerate(np.logspace(-12, 5, 35)):
        model = make_pipeline(PolynomialFeatures(2), StandardScaler(), Ridge(alpha))
        model.fit(x_train, y_train)
        scores[float(alpha)] = score = model.score(x_val, y_val)
        logger.info(
            metric={
                "alpha": alpha,
                "train/r2": model.score(x_train, y_train),
                "val/r2": score,
                "val/mae": mean_absolute_error(y_val, model.predict(x_val)),
            },
            step=step,
        )
    return max(scores, key=scores.__getitem__)


def main() -> None:
    """Train inside a run, and show what is on the disk afterwards."""
    logging.captureWarnings(True)  # what libraries warn about becomes log lines
    with mlog.start_run("diabetes", params={"model": "ridge", "degree": 2}) as run:
        best = train()
        logger.info("best alpha: %.3g", best)
        run.tag("best_alpha", f"{best:.3g}")
    if run.path is None:  # runs are switched off (MLOG_MODE=off)
        return
    print(f"best alpha {best:.3g}; the run is in {run.path}")
    for file in sorted(run.path.glob("*.json*")):
        print(f"  {file.name:<14}{file.stat().st_size:>6} bytes")
    print(f'to follow a run: tail -f "{run.path}/metrics.jsonl"; its first lines:')
    print(*(run.path / "metrics.jsonl").read_text().splitlines()[:2], sep="\n")


if __name__ == "__main__":
    main()
