"""The examination that the house model's card tells of, for any GGUF: `greenroom models check FILE`."""
