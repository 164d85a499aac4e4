"""How a model is chosen: variants, their candidates on the folds, and models that stand beside them."""
