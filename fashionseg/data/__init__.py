"""Data sets: reading, converting, checking, splitting, drawing and inventing COCO instance annotations.

Everything here works on annotation files and photos. It knows nothing about models, training or detection.
"""
