"""Methods that reconstruct features (CADA's base methods)."""
