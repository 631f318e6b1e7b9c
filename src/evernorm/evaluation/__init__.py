"""R[t, ·]: what a detector answers on every test image."""
