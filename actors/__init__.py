"""Who acts: dispatcher, supervision, director, NPCs, groups, builders, coordinator, pipelines."""
