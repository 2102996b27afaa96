## Speech bubbles that follow their speakers and grow while the words arrive.
extends Control

const WIDTH := 260.0
const FONT_SIZE := 14
const SECONDS_AFTER := 4.0
const SECONDS_A_CHARACTER := 0.06
const SECONDS_WAITING := 30.0
const MAX_BUBBLES := 24

var _bubbles := {}


## Shows that `speaker` is about to answer.
func begin(speaker: int) -> void:
	_show(speaker, "…", SECONDS_WAITING)
	_bubbles[speaker].streaming = ""


## Adds what `speaker` said next.
func add_piece(speaker: int, piece: String) -> void:
	if not _bubbles.has(speaker):
		begin(speaker)
	_bubbles[speaker].streaming += piece
	_show(speaker, _bubbles[speaker].streaming, SECONDS_WAITING)


## Puts the whole text in the place of the pieces and lets the bubble fade.
func finish(speaker: int, text: String) -> void:
	say(speaker, text)


## Shows a whole line at once.
func say(speaker: int, text: String) -> void:
	_show(speaker, text, SECONDS_AFTER + SECONDS_A_CHARACTER * text.length())


## Moves the bubbles over their speakers; `view` is the map's transform on the screen.
func follow(map: Node2D, view: Transform2D) -> void:
	for speaker: int in _bubbles:
		var panel: PanelContainer = _bubbles[speaker].panel
		panel.visible = Greenroom.entities.has(speaker)
		if panel.visible:
			panel.reset_size()
			var head: Vector2 = view * (map.place_of(speaker) - Vector2(0, 16))
			panel.position = head - Vector2(panel.size.x / 2.0, panel.size.y)


func _process(delta: float) -> void:
	for speaker: int in _bubbles.keys():
		_bubbles[speaker].seconds -= delta
		if _bubbles[speaker].seconds <= 0.0:
			_remove(speaker)


func _show(speaker: int, text: String, seconds: float) -> void:
	if not _bubbles.has(speaker):
		if _bubbles.size() >= MAX_BUBBLES:
			_remove(_bubbles.keys()[0])
		_bubbles[speaker] = {"panel": _make_panel(), "streaming": "", "seconds": seconds}
	_bubbles[speaker].seconds = seconds
	var label: Label = _bubbles[speaker].panel.get_child(0)
	label.text = text
	# Short lines make small bubbles, long ones wrap.
	var font := label.get_theme_font("font")
	var width := font.get_string_size(text, HORIZONTAL_ALIGNMENT_LEFT, -1, FONT_SIZE).x + 4.0
	label.custom_minimum_size.x = minf(width, WIDTH)


func _remove(speaker: int) -> void:
	_bubbles[speaker].panel.queue_free()
	_bubbles.erase(speaker)


func _make_panel() -> PanelContainer:
	var style := StyleBoxFlat.new()
	style.bg_color = Color("fbf6e9")
	style.set_corner_radius_all(8)
	style.set_content_margin_all(8)
	style.shadow_color = Color(0, 0, 0, 0.25)
	style.shadow_size = 4
	var label := Label.new()
	label.autowrap_mode = TextServer.AUTOWRAP_WORD_SMART
	label.add_theme_color_override("font_color", Color("2a2620"))
	label.add_theme_font_size_override("font_size", FONT_SIZE)
	var panel := PanelContainer.new()
	panel.mouse_filter = Control.MOUSE_FILTER_IGNORE
	panel.add_theme_stylebox_override("panel", style)
	panel.add_child(label)
	add_child(panel)
	return panel
