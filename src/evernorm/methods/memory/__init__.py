"""Methods that remember patch features."""
