"""From a Detectron2 checkpoint to a model file, and from there to lower precision and engines (`fashionseg.export`)."""
