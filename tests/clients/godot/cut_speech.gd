## Asks a question and lets the line be cut in the middle of the answer.
extends "res://tests/scenario.gd"


func run() -> void:
	var pieces := []
	var opened := []
	greenroom.connected.connect(func(_welcome: Dictionary, resumed: bool) -> void: opened.append(resumed))
	greenroom.speech_piece.connect(
		func(_speaker: int, piece: String) -> void:
			if pieces.is_empty():
				report("speaking")
			pieces.append(piece)
	)
	greenroom.connect_to(arguments[0], "Robin", {"radius": 60})
	var me: int = await greenroom.joined
	await until(func() -> bool: return greenroom.entities.has(me))
	var to: int = greenroom.nearest_speaker()
	await greenroom.walk_up_to(to)
	var talk: RefCounted = greenroom.say(to, "Tell me all you know of the valley, from end to end.")
	await until(func() -> bool: return opened.size() > 1)
	report("mended")
	await talk.wait()
	report("heard", {"ok": talk.ok, "pieces": pieces, "text": talk.reply.get("text", ""), "opened": opened, "reply": talk.reply})
