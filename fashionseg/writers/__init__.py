"""What a run leaves behind: annotated media, COCO files, and the journal that makes it resumable."""
