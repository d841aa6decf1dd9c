"""Are the coefficients that came home those that pooling the patients would have given?

`evaluate.py RESULTS` reads `RESULTS/model.json`. Beside it, scikit-learn fits the same logistic regression, without a penalty, to the
rows of all 569 patients. It prints both, and fails unless every number agrees to 1e-9.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parent / "code"))
from question import COVARIATES
from regression import NAMES

AGREEMENT = 1e-9


def pooled() -> tuple[np.ndarray, np.ndarray, float]:
    """Return coefficients, standard errors and deviance of the fit to all rows."""
    bunch = load_breast_cancer()
    columns = [name.replace(" ", "_") for name in bunch.feature_names]
    x = np.column_stack(
        [(bunch.data[:, columns.index(name)] - centre) / unit for name, (centre, unit) in COVARIATES.items()]
    )
    y = bunch.target == list(bunch.target_names).index("malignant")
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x, y)
    p = fitted.predict_proba(x)[:, 1]
    design = np.column_stack([np.ones(len(x)), x])
    covariance = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))
    deviance = -2 * float(np.sum(np.log(np.where(y, p, 1 - p))))
    return np.concatenate([fitted.intercept_, fitted.coef_[0]]), np.sqrt(np.diag(covariance)), deviance


def main() -> None:
    """Compare, print, and say by the exit status whether they agree."""
    model = json.loads((Path(sys.argv[1]) / "model.json").read_text())
    coefficients, errors, deviance = pooled()
    print(f"{'':18}{'coefficient':>14}{'std. error':>12}{'pooled':>14}{'difference':>12}")
    differences = []
    for at, name in enumerate(NAMES):
        ours, theirs = model["coefficients"][at], coefficients[at]
        differences += [abs(ours - theirs), abs(model["standard_errors"][at] - errors[at])]
        print(f"{name:18}{ours:14.9f}{model['standard_errors'][at]:12.6f}{theirs:14.9f}{abs(ours - theirs):12.1e}")
    differences.append(abs(model["deviance"] - deviance) / deviance)
    agree = max(differences) <= AGREEMENT and model["status"] == "fitted"
    print(
        f"\n{model['patients']} patients, {model['rounds']} rounds, deviance {model['deviance']:.6f}: {model['status']}"
    )
    print(f"agree to {AGREEMENT:.0e}: {'yes' if agree else 'NO'} (largest difference {max(differences):.1e})")
    sys.exit(not agree)


if __name__ == "__main__":
    main()
