"""Trains the model of this folder: discriminant analysis of Fisher's irises. Writes `model.skops`."""

from pathlib import Path

import skops.io
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    measurements, species = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis())
    model.fit(measurements, species)
    path = Path(__file__).with_name("model.skops")
    skops.io.dump(model, path)
    right = model.score(measurements, species)
    print(f"{path.name}: {right:.0%} of the {len(species)} training rows are classified rightly")


if __name__ == "__main__":
    main()
