"""The grammar that writes the house model's training text: a seed in, conversations out."""
