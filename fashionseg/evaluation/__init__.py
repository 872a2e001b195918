"""Evaluation: COCO metrics, thresholds, errors, plots and a report, for models and for predictions alike.

    from fashionseg.evaluation import EvaluateOptions, evaluate
    evaluation = evaluate(EvaluateOptions(Path("model.onnx"), Path("val.json"), output=Path("report")))
    evaluation.metrics.flat()["segm/AP"]        # 0..1

Nothing here imports torch, except to run a Detectron2 checkpoint.
"""

from fashionseg.evaluation.metrics import Metrics, measure
from fashionseg.evaluation.predictions import Predictions, from_results, read_predictions
from fashionseg.evaluation.result import Evaluation
from fashionseg.evaluation.run import EvaluateOptions, evaluate

__all__ = [
    "EvaluateOptions",
    "Evaluation",
    "Metrics",
    "Predictions",
    "evaluate",
    "from_results",
    "measure",
    "read_predictions",
]
