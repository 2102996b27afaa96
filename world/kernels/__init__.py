"""Loops over columns that numpy can't take whole, compiled: integers only, the same on every CPU."""
