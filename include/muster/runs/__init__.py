"""A run as a whole: opened with its inputs, asked for by another run, and followed to its end."""
