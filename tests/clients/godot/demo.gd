## Plays the demo by hand: loads its scene, types a line, looks at the bubble.
extends "res://tests/scenario.gd"


func run() -> void:
	OS.set_environment("GREENROOM_URL", arguments[0])
	var main: Node = load("res://demo/main.tscn").instantiate()
	root.add_child(main)
	await greenroom.joined
	await until(func() -> bool: return greenroom.nearest_speaker() != 0)
	var bubbles: Control = main.get_node("Overlay/Bubbles")
	var line: LineEdit = main.get_node("Overlay/Line")
	var done := []
	greenroom.speech_done.connect(func(speaker: int, text: String, _source: String) -> void: done.append([speaker, text]))
	line.text_submitted.emit("What is the news?")
	await until(func() -> bool: return not done.is_empty())
	await process_frame
	var texts := []
	for panel: Node in bubbles.get_children():
		texts.append(panel.get_child(0).text)
	report("bubbles", {"texts": texts, "done": done})
	var drawn: Node = main.get_node("MapView")
	var size: Vector2i = drawn._texture.get_size()
	report("map", {
		"placed": drawn._places.size(), "ground": [size.x, size.y],
		"world": [greenroom.world.width, greenroom.world.height],
	})
