## The demo: walk through the valley, talk to who you meet, strike what hunts you.
##
## The server's address comes from `-- --url ws://…`, from GREENROOM_URL, or is the local default.
extends Node2D

const PLAYER_NAME := "Traveller"
const DEFAULT_URL := "ws://127.0.0.1:8765"
const HOSTILE_REACH := 3.0
const USE_REACH := 2.0
const EARSHOT := 8.0
const CLICK_REACH := 0.9
const MAX_LOG_LINES := 60
const SECONDS_DEAD := 3.0

var _chosen := 0
var _trouble := ""

@onready var _map: Node2D = $MapView
@onready var _camera: Camera2D = $Camera
@onready var _bubbles: Control = $Overlay/Bubbles
@onready var _status: Label = $Overlay/Status
@onready var _log: RichTextLabel = $Overlay/Log
@onready var _line: LineEdit = $Overlay/Line


func _ready() -> void:
	Greenroom.connected.connect(_on_connected)
	Greenroom.disconnected.connect(_on_disconnected)
	Greenroom.joined.connect(func(_me: int) -> void: _note("You stand in %s." % Greenroom.world.get("scene", "the world")))
	Greenroom.speech_piece.connect(_bubbles.add_piece)
	Greenroom.speech_done.connect(_on_speech_done)
	Greenroom.event_received.connect(_on_event)
	Greenroom.request_error.connect(_on_request_error)
	_line.text_submitted.connect(_on_line_submitted)
	Greenroom.connect_to(_server_url(), PLAYER_NAME, {"radius": 48})


func _process(_delta: float) -> void:
	if Greenroom.entities.has(Greenroom.me):
		_camera.position = _map.place_of(Greenroom.me)
	_bubbles.follow(_map, get_viewport().get_canvas_transform())
	_map.chosen = _chosen if Greenroom.entities.has(_chosen) else 0
	_status.text = _status_text()


func _unhandled_input(event: InputEvent) -> void:
	if event is InputEventMouseButton and event.pressed:
		match event.button_index:
			MOUSE_BUTTON_LEFT:
				_line.release_focus()
				_on_click(_map.get_local_mouse_position() / _map.TILE_PIXELS)
			MOUSE_BUTTON_WHEEL_UP:
				_camera.zoom = (_camera.zoom * 1.1).clampf(0.4, 4.0)
			MOUSE_BUTTON_WHEEL_DOWN:
				_camera.zoom = (_camera.zoom / 1.1).clampf(0.4, 4.0)
	elif event is InputEventKey and event.pressed and not event.echo:
		match event.keycode:
			KEY_ENTER, KEY_KP_ENTER, KEY_T:
				_line.grab_focus()
				get_viewport().set_input_as_handled()
			KEY_F, KEY_SPACE:
				_strike()
			KEY_E:
				_use()


func _input(event: InputEvent) -> void:
	if event.is_action_pressed("ui_cancel") and _line.has_focus():
		_line.release_focus()


static func _server_url() -> String:
	var arguments := OS.get_cmdline_user_args()
	var at := arguments.find("--url")
	if at >= 0 and at + 1 < arguments.size():
		return arguments[at + 1]
	return OS.get_environment("GREENROOM_URL") if OS.has_environment("GREENROOM_URL") else DEFAULT_URL


# A click on someone chooses them to talk to or to strike; anywhere else it is where to walk.
func _on_click(place: Vector2) -> void:
	var hit: int = Greenroom.entities.nearest(place, CLICK_REACH, Greenroom.me)
	if hit != 0:
		_chosen = hit
	else:
		_map.show_goal(place)
		Greenroom.move_to(place)


func _on_line_submitted(text: String) -> void:
	_line.clear()
	_line.release_focus()
	if text.strip_edges() == "":
		return
	var to := _chosen if Greenroom.entities.speaks(_chosen) else Greenroom.nearest_speaker()
	if to == 0:
		_note("Nobody is near enough to hear you.")
		return
	_chosen = to
	if not await Greenroom.walk_up_to(to, EARSHOT):
		_note("There is no way to %s." % _name(to))
		return
	_bubbles.begin(to)
	_bubbles.say(Greenroom.me, text)
	Greenroom.say(to, text)


func _strike() -> void:
	var target := _chosen
	if target == 0 or Greenroom.entities.is_dead(target) or not Greenroom.entities.has(target):
		target = Greenroom.entities.nearest(Greenroom.my_position(), HOSTILE_REACH, Greenroom.me)
	if target == 0:
		_note("There is nobody to strike.")
		return
	_chosen = target
	Greenroom.attack(target)


func _use() -> void:
	var target := _chosen if _chosen != 0 else Greenroom.entities.nearest(Greenroom.my_position(), USE_REACH, Greenroom.me)
	if target != 0:
		Greenroom.use(target)


func _on_connected(_welcome: Dictionary, resumed: bool) -> void:
	_trouble = ""
	if resumed:
		_note("Back again.")


func _on_disconnected(_code: int, reason: String, retrying: bool) -> void:
	_trouble = "%s%s" % [reason, "; trying again …" if retrying else ""]


func _on_speech_done(speaker: int, text: String, source: String) -> void:
	_bubbles.finish(speaker, text)
	_note("%s: %s  [i](%s)[/i]" % [_name(speaker), text.replace("[", "[lb]"), source.replace("[", "[lb]")])


func _on_request_error(type: String, error: Dictionary) -> void:
	if error.get("code") == "disconnected":
		return
	var told: String = str(error.get("message", ""))
	var hint: String = str(error.get("hint", ""))
	_note(("%s: %s%s" % [type, told, "; " + hint if hint != "" else ""]).replace("[", "[lb]"))


func _on_event(event: Dictionary) -> void:
	var data: Dictionary = event.data
	match event.kind:
		"said":
			# Our own talk is shown as it streams.
			if event.entity != Greenroom.me and event.target != Greenroom.me:
				_bubbles.say(event.entity, str(data.get("text", "")))
		"attacked":
			_map.show_blow(event.target)
		"died":
			_note("%s %s dead." % [_name(event.entity), "are" if event.entity == Greenroom.me else "is"])
			if event.entity == Greenroom.me:
				await get_tree().create_timer(SECONDS_DEAD).timeout
				Greenroom.join(PLAYER_NAME)
		"dam_broken":
			_note("The dam is broken! Water is coming down the valley.")
		"time_of_day":
			_note("It is %s." % data.get("name", ""))


func _name(id: int) -> String:
	if id == Greenroom.me:
		return "You"
	var known := Greenroom.entities.name_of(id)
	return known if known != "" else _map.species_of(id).get("name", "someone")


func _note(text: String) -> void:
	_log.append_text(text + "\n")
	while _log.get_paragraph_count() > MAX_LOG_LINES:
		_log.remove_paragraph(0)


func _status_text() -> String:
	if _trouble != "":
		return _trouble
	if not Greenroom.is_open:
		return "Looking for the server at %s …" % _server_url()
	var text := "%s  ·  %d in sight" % [Greenroom.time_of_day, Greenroom.entities.size()]
	if Greenroom.me != 0:
		text += "  ·  health %d" % Greenroom.entities.value_of(Greenroom.me, "hp")
	if _map.chosen != 0:
		text += "  ·  %s" % _name(_map.chosen)
	return text
