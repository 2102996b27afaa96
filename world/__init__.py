"""What is: entities, rules, generation, knowledge, storage. No actor, no model, no socket, no clock of its own."""
