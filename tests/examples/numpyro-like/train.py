"""Write `divorce.json`: samples of the posterior of a Bayesian linear regression, as a probabilistic
framework saves them. The data is drawn here, so that training needs neither a download nor the framework.
"""

import json
from pathlib import Path

import numpy as np

PRIOR = {"a": 0.2, "bM": 0.5, "bA": 0.5}
"""Standard deviations of the weights before any data is seen."""


def main() -> None:
    random = np.random.default_rng(1)
    age, noise = random.normal(size=(2, 50))
    marriage = -0.7 * age + 0.5 * random.normal(size=50)
    divorce = -0.6 * age + 0.4 * noise
    features = np.column_stack([np.ones(50), marriage, age])
    sigma = 0.4
    precision = features.T @ features / sigma**2 + np.diag([1 / scale**2 for scale in PRIOR.values()])
    covariance = np.linalg.inv(precision)
    mean = covariance @ features.T @ divorce / sigma**2
    weights = random.multivariate_normal(mean, covariance, size=200).round(6)
    samples = dict(zip(PRIOR, weights.T.tolist(), strict=True)) | {"sigma": [sigma] * 200}
    Path(__file__).with_name("divorce.json").write_text(json.dumps(samples) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
