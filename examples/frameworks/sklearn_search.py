"""Every candidate of a grid search as a run of its own, beside the search's run."""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, train_test_split

import mlog
from mlog.sklearn import watch

x, x_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)

with mlog.start_run("diabetes-search") as run:
    search = GridSearchCV(Ridge(), {"alpha": [0.01, 0.1, 1.0, 10.0]})
    watch(search).fit(x, y)
    model = watch(Ridge(**search.best_params_), test=(x_test, y_test)).fit(x, y)

for child in run.get_children():
    score = child.get_metrics("mean_test_score")["mean_test_score"]
    print(child.name, child.params, f"{score:.3f}")
