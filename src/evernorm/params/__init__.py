"""Every parameter: its default, its range, its file."""
