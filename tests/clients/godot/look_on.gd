## Watches the whole world as a spectator: the snapshot, then some ticks of deltas.
extends "res://tests/scenario.gd"


func run() -> void:
	var changes := []
	greenroom.entities_changed.connect(func(tick: int) -> void: changes.append(tick))
	greenroom.connect_to(arguments[0])
	await greenroom.connected
	report("world", greenroom.world)
	var watching: Dictionary = await greenroom.watch(0, true).wait()
	report("watching", watching)
	await until(func() -> bool: return not changes.is_empty())
	var before := places()
	report("snapshot", {
		"tick": greenroom.tick, "count": greenroom.entities.size(), "tiles": greenroom.tiles.size(),
		"names": greenroom.entities.names.size(), "time": greenroom.time_of_day,
	})
	await until(func() -> bool: return changes.size() >= 40)
	var after := places()
	var moved := 0
	for id: int in after:
		if before.has(id) and before[id] != after[id]:
			moved += 1
	report("deltas", {"ticks": changes, "moved": moved})
	var failed: Dictionary = await greenroom.move_to(Vector2(5, 5)).wait()
	report("refused", failed)


func places() -> Dictionary:
	var found := {}
	for id: int in greenroom.entities.ids:
		found[id] = greenroom.entities.position_of(id)
	return found
