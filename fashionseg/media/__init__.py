"""Photos and videos: finding them, decoding them upright, encoding them."""
