## Joins, walks up to somebody and talks, cutting nothing: pieces, then the whole.
extends "res://tests/scenario.gd"


func run() -> void:
	var pieces := []
	var said := []
	greenroom.speech_piece.connect(
		func(speaker: int, piece: String) -> void: pieces.append([speaker, piece, Engine.get_process_frames()])
	)
	greenroom.event_received.connect(
		func(event: Dictionary) -> void:
			if event.kind == "said":
				said.append({"entity": event.entity, "target": event.target, "text": event.data.text})
	)
	greenroom.connect_to(arguments[0], "Robin", {"radius": 60})
	var me: int = await greenroom.joined
	var in_sight: bool = await until(func() -> bool: return greenroom.entities.has(me))
	report("joined", {
		"me": me, "in_sight": in_sight, "name": greenroom.entities.name_of(me),
		"player": greenroom.entities.is_player(me), "place": str(greenroom.my_position()),
	})
	var to: int = greenroom.nearest_speaker()
	await greenroom.walk_up_to(to)
	var panel: Dictionary = await greenroom.inspect(to).wait()
	report("panel", panel)
	var talk: RefCounted = greenroom.say(to, "Good evening! What news from the mill?")
	await talk.wait()
	report("speech", {
		"to": to, "ok": talk.ok, "reply": talk.reply, "pieces": pieces,
		"frames": pieces.map(func(piece: Array) -> int: return piece[2]),
	})
	await until(func() -> bool: return said.any(func(event: Dictionary) -> bool: return event.entity == me), 5.0)
	report("said", {"events": said, "me": me})
	var nobody: RefCounted = greenroom.say(281474976710655, "Is anybody there?")
	await nobody.wait()
	report("nobody", {"ok": nobody.ok, "reply": nobody.reply})
	var errors := []
	greenroom.request_error.connect(
		func(type: String, error: Dictionary) -> void: errors.append([type, error])
	)
	var wish: RefCounted = greenroom.say(to, "And the weather?", {"backend": "nobody", "cache": "off"})
	await wish.wait()
	report("wish", {"body": wish.body, "reply": wish.reply, "errors": errors})
