"""Networks that learn to reconstruct the features of normal images (CADA's base methods)."""
