"""A class built on another machine: what is handed over to it and back, by Git and DVC alone."""
