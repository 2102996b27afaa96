"""The dashboard: static files of ours, served as they are; no build step, nothing from elsewhere."""
