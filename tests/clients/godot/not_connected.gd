## Asks for something before connecting.
extends "res://tests/scenario.gd"


func run() -> void:
	var failures := []
	greenroom.request_failed.connect(
		func(type: String, code: String, _message: String) -> void: failures.append([type, code])
	)
	var errors := []
	greenroom.request_error.connect(
		func(type: String, error: Dictionary) -> void: errors.append([type, error])
	)
	report("failed", await greenroom.say(1, "Hello?").wait())
	report("signal", failures[0])
	report("error", errors)
