"""One suite over every registered method."""
