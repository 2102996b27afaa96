"""Hook specifications, the manager and the built-in plugins; a mod imports `plugins.api` alone."""
