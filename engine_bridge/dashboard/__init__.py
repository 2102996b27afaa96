"""The dashboard's page: plain JavaScript modules, served as they are by `engine_bridge.http`."""
