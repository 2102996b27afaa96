"""Worlds from a seed: terrain, rooms, monsters, names, people and settlements, in integers alone."""
