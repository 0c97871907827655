"""Decode the images, find duplicates and assign splits."""
