"""The detectors: presets of one system behind one interface."""
