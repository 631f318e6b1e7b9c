"""Scores of different classes on one scale (CADA), and what is read off them."""
