## Runs the README's example on a label, as a newcomer would.
extends "res://tests/scenario.gd"


func run() -> void:
	var label: Label = load("res://tests/readme_example.gd").new()
	root.add_child(label)
	var heard: Array = await greenroom.speech_done
	report("label", {"text": label.text, "answer": heard[1]})
