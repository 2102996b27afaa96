## Applies the state messages of the input file one by one and tells what the mirror holds after each.
extends "res://tests/scenario.gd"

const Entities := preload("res://addons/greenroom/entities.gd")
const Msgpack := preload("res://addons/greenroom/msgpack.gd")


func run() -> void:
	var codec := Msgpack.new()
	var entities := Entities.new()
	for frame: String in read_input():
		var message: Dictionary = codec.decode(frame.hex_decode())
		var moves := {"entered": PackedInt64Array(), "left": PackedInt64Array()}
		if message.t == "snapshot":
			entities.apply_snapshot(message.d)
		else:
			moves = entities.apply_delta(message.d)
		if entities.error != "":
			report("refused", {"reason": entities.error, "size": entities.size()})
			continue
		var held := {}
		for id in entities.ids:
			held[str(id)] = entities.describe(id)
		report("state", {"entities": held, "entered": Array(moves.entered), "left": Array(moves.left)})
