"""Frozen backbones behind one protocol: images in, patch features out."""
