"""Where classes arrive."""
