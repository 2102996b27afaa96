## Hands the client the state messages of the input file and tells what it knows after each.
extends "res://tests/scenario.gd"

const Msgpack := preload("res://addons/greenroom/msgpack.gd")


func run() -> void:
	var input: Dictionary = read_input()
	var codec := Msgpack.new()
	greenroom.world = {"width": int(input.width), "height": int(input.height)}
	for frame: String in input.frames:
		greenroom._on_message(codec.decode(frame.hex_decode()))
		var entities := {}
		for id: int in greenroom.entities.ids:
			var row: Dictionary = greenroom.entities.describe(id)
			row.erase("id")
			row.erase("name")
			entities[str(id)] = row
		var names := {}
		for id: int in greenroom.entities.names:
			names[str(id)] = greenroom.entities.names[id]
		report("state", {
			"tick": greenroom.tick, "time": greenroom.time_of_day, "entities": entities, "names": names,
			"tiles": greenroom.tiles.hex_encode(),
		})
