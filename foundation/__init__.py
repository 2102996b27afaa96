"""What every floor stands on: the root of the errors and the strict schema base. No logic of its own."""
