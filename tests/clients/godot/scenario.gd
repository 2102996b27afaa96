## What every scenario shares: it reports in JSON lines that pytest reads, waits in frames, and ends.
extends SceneTree

const LINE_MARK := "@greenroom "

var greenroom: Node
var arguments := OS.get_cmdline_user_args()


func _initialize() -> void:
	greenroom = root.get_node("Greenroom")
	_play.call_deferred()


## What the scenario does.
func run() -> void:
	pass


func report(what: String, data: Variant = {}) -> void:
	print(LINE_MARK, JSON.stringify({"what": what, "data": data}))


## Lets frames pass until `condition` holds; false when it did not within `seconds`.
func until(condition: Callable, seconds := 20.0) -> bool:
	var last := Time.get_ticks_msec() + int(seconds * 1000.0)
	while not condition.call():
		if Time.get_ticks_msec() > last:
			return false
		await process_frame
	return true


func read_input() -> Variant:
	var text := FileAccess.get_file_as_string(arguments[0])
	return JSON.parse_string(text)


func _play() -> void:
	await run()
	report("end")
	quit()
