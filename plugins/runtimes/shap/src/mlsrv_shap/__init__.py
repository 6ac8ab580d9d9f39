"""shap runtime: says how much each feature of a request contributes to a model's prediction."""
