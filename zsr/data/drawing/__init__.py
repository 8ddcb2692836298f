"""Images drawn by NumPy alone: shapes, glyphs, and the canvas that they are put on."""
