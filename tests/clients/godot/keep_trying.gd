## Connects to something that is no server, for a few seconds.
extends "res://tests/scenario.gd"


func run() -> void:
	var lost := []
	var began := Engine.get_process_frames()
	greenroom.disconnected.connect(
		func(_code: int, _reason: String, retrying: bool) -> void: lost.append(retrying)
	)
	greenroom.connect_to(arguments[0], "Robin")
	var asked: RefCounted = greenroom.move_to(Vector2(3, 3))
	await until(func() -> bool: return lost.size() >= 3)
	report("tries", {
		"lost": lost.size(), "retrying": lost.all(func(one: bool) -> bool: return one),
		"frames": Engine.get_process_frames() - began,
	})
	greenroom.disconnect_from_server()
	report("asked", await asked.wait())
