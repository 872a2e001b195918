"""Other formats of annotations into COCO: DeepFashion2, YOLO segmentation, label maps.

What cannot be converted is counted and listed in a report (`report.py`), never kept silently and never a crash.
"""
