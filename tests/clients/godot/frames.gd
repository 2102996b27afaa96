## Sleeps through a second of ticks and counts how many messages each later frame works off.
extends "res://tests/scenario.gd"


func run() -> void:
	greenroom.connect_to(arguments[0])
	await greenroom.connected
	await greenroom.watch(0, true).wait()
	await greenroom.entities_changed
	greenroom._connection.budget_usec = 0
	report("frugal", await taken_by_frame())
	greenroom._connection.budget_usec = 50_000
	report("generous", await taken_by_frame())


# Messages taken, frame by frame, after the process stood still.
func taken_by_frame() -> Array:
	var frames := {}
	var count := func(_tick: int) -> void:
		var now := Engine.get_process_frames()
		frames[now] = frames.get(now, 0) + 1
	greenroom.entities_changed.connect(count)
	OS.delay_msec(1000)
	await until(func() -> bool: return greenroom._connection._socket.get_available_packet_count() == 0 and not frames.is_empty())
	greenroom.entities_changed.disconnect(count)
	return frames.values()
