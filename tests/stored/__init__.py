"""An installation as it was written once: what later versions must go on reading, and going on with."""
