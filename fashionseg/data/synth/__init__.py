"""Pictures that draw themselves: dressed figures in the five classes, with exact instance masks.

For tests, smoke training and demos where no photo is at hand. Everything is drawn from a seed with NumPy and OpenCV;
no photo, texture file or network is used. `draw_scene` gives one picture, `write_synth` a folder with its COCO file,
`video.py` a clip of walking figures.

Layers, each knowing those before it: surfaces (shapes per pixel) and cloth (colour per point); canvas (light, who owns
a pixel); body, shapes, head, wardrobe (what a person is); figure (painting order); noise, props, backdrop; scene;
folder, film.
"""

from fashionseg.data.synth.folder import SynthOptions, write_synth
from fashionseg.data.synth.scene import Scene, draw_scene
from fashionseg.data.synth.wardrobe import CLASS_NAMES

__all__ = ["CLASS_NAMES", "Scene", "SynthOptions", "draw_scene", "write_synth"]
