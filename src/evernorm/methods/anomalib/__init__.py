"""Models of the library anomalib as a method: one model a class."""
