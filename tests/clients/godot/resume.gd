## Talks while the connection is cut: says when to cut, then tells what the client made of it.
extends "res://tests/scenario.gd"


func run() -> void:
	var opened := []
	var lost := []
	var pieces := []
	greenroom.connected.connect(func(_welcome: Dictionary, resumed: bool) -> void: opened.append(resumed))
	greenroom.disconnected.connect(
		func(code: int, _reason: String, retrying: bool) -> void: lost.append({"code": code, "retrying": retrying})
	)
	greenroom.speech_piece.connect(func(_speaker: int, piece: String) -> void: pieces.append(piece))
	greenroom.connect_to(arguments[0], "Robin", {"radius": 60})
	var me: int = await greenroom.joined
	await until(func() -> bool: return greenroom.entities.has(me))
	var tick_before: int = greenroom.tick
	report("ready", {"me": me})
	await until(func() -> bool: return not lost.is_empty(), 30.0)
	# Asked while there is no connection, these are kept and sent when it is mended.
	var walk: RefCounted = greenroom.move_to(greenroom.my_position() + Vector2(1, 0))
	await walk.wait()
	var newer: bool = await until(func() -> bool: return greenroom.tick > tick_before)
	report("mended", {
		"me": greenroom.me, "opened": opened, "lost": lost, "walk_ok": walk.ok, "walk": walk.reply,
		"newer": newer, "in_sight": greenroom.entities.has(me),
	})
