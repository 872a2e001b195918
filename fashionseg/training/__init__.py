"""Training: recipes, Detectron2's config, loader, trainer and hooks, and what a run leaves behind.

`recipe.py` and `dataset.py` need neither torch nor Detectron2; everything else here does, and is imported only by
`run.train`. Nothing outside this package imports torch for training.
"""
