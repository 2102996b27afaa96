## Asks for something before connecting.
extends "res://tests/scenario.gd"


func run() -> void:
	var failures := []
	greenroom.request_failed.connect(
		func(type: String, code: String, _message: String) -> void: failures.append([type, code])
	)
	report("failed", await greenroom.say(1, "Hello?").wait())
	report("signal", failures[0])
