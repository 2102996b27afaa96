"""Models that others run: Anthropic's. Whoever sets none of them up sends no text off the machine."""
