"""The valley of Alderford: the scene that `greenroom demo` plays. Data only."""
