## Draws the map and everyone on it; moves everyone smoothly between the server's ticks.
extends Node2D

const TILE_PIXELS := 20.0
const SMOOTHING := 12.0
const BLOW_SECONDS := 0.35
const UNKNOWN_TILE := Color("6b6b6b")
const TILE_COLOURS := {
	"deep_water": Color("2b4f72"), "water": Color("3f729b"), "sand": Color("d8c690"),
	"grass": Color("7fa25a"), "field": Color("b9a653"), "forest": Color("48733f"),
	"hill": Color("9a9464"), "rock": Color("7d7a75"), "road": Color("b49b78"),
	"floor": Color("a5825a"), "wall": Color("5b4a3f"), "bridge": Color("9b7a50"),
	"ruin": Color("83796c"), "dam": Color("6d6255"), "mud": Color("6e5a42"),
}

## Who is marked with a ring; 0 for nobody.
var chosen := 0

var _places := {}
var _blows := {}
var _goal := Vector2.INF
var _image: Image
var _texture: ImageTexture
var _ground := Sprite2D.new()


func _ready() -> void:
	_ground.centered = false
	_ground.scale = Vector2(TILE_PIXELS, TILE_PIXELS)
	_ground.show_behind_parent = true
	_ground.texture_filter = CanvasItem.TEXTURE_FILTER_NEAREST
	_ground.material = ShaderMaterial.new()
	_ground.material.shader = preload("ground.gdshader")
	add_child(_ground)
	Greenroom.map_changed.connect(_on_map_changed)
	Greenroom.entity_left.connect(func(id: int) -> void: _places.erase(id))


func _process(delta: float) -> void:
	var share := 1.0 - exp(-SMOOTHING * delta)
	for id in Greenroom.entities.ids:
		var target := Greenroom.entities.position_of(id) * TILE_PIXELS
		var place: Vector2 = _places.get(id, target)
		# Who moved further than anyone walks was put there: no sliding.
		_places[id] = target if place.distance_to(target) > 4.0 * TILE_PIXELS else place.lerp(target, share)
	for id: int in _blows.keys():
		_blows[id] -= delta
		if _blows[id] <= 0.0:
			_blows.erase(id)
	queue_redraw()


func _draw() -> void:
	var font := ThemeDB.fallback_font
	if _goal != Vector2.INF:
		draw_arc(_goal * TILE_PIXELS, 5.0, 0.0, TAU, 24, Color(1, 1, 1, 0.6), 1.5, true)
	for id: int in _places:
		if not Greenroom.entities.has(id):
			continue
		_draw_one(font, id, _places[id])


## Where someone is drawn now.
func place_of(id: int) -> Vector2:
	return _places.get(id, Vector2.ZERO)


## The kind of being someone is: `{name, symbol, colour, speaks}`.
func species_of(id: int) -> Dictionary:
	var all: Array = Greenroom.world.get("species", [])
	var index: int = Greenroom.entities.value_of(id, "species")
	return all[index] if index < all.size() else {}


## Marks where the player walks to, in tiles.
func show_goal(place: Vector2) -> void:
	_goal = place


## Lets someone flash who was struck.
func show_blow(id: int) -> void:
	_blows[id] = BLOW_SECONDS


func _draw_one(font: Font, id: int, place: Vector2) -> void:
	var species := species_of(id)
	var colour := Color.from_string(str(species.get("colour", "")), Color("c8c8c8"))
	var radius := TILE_PIXELS * 0.42
	if Greenroom.entities.is_dead(id):
		colour = colour.darkened(0.5)
		radius *= 0.8
	if _blows.has(id):
		colour = colour.lerp(Color.WHITE, _blows[id] / BLOW_SECONDS)
	draw_circle(place + Vector2(0, 2), radius, Color(0, 0, 0, 0.25), true, -1.0, true)
	draw_circle(place, radius, colour, true, -1.0, true)
	if id == Greenroom.me:
		draw_arc(place, radius + 2.0, 0.0, TAU, 32, Color.WHITE, 1.5, true)
	if id == chosen:
		draw_arc(place, radius + 4.0, 0.0, TAU, 32, Color("ffd95e"), 1.5, true)
	var ink := Color("1d1d1d") if colour.get_luminance() > 0.45 else Color("f4f1e8")
	# Text keeps its size on the screen, whatever the zoom.
	var shrink := 1.0 / get_viewport_transform().get_scale().x
	draw_set_transform(place, 0.0, Vector2(shrink, shrink))
	var symbol := str(species.get("symbol", "?")).left(2)
	draw_string(font, Vector2(-20, 5), symbol, HORIZONTAL_ALIGNMENT_CENTER, 40, 14, ink)
	var shown_name: String = Greenroom.entities.name_of(id)
	if shown_name != "":
		var below := Vector2(-90, radius / shrink + 15.0)
		draw_string_outline(font, below, shown_name, HORIZONTAL_ALIGNMENT_CENTER, 180, 12, 5, Color(0, 0, 0, 0.55))
		draw_string(font, below, shown_name, HORIZONTAL_ALIGNMENT_CENTER, 180, 12, Color("f4f1e8"))
	draw_set_transform(Vector2.ZERO)
	_draw_health(id, place - Vector2(0, radius + 4.0))


func _draw_health(id: int, place: Vector2) -> void:
	var hp: int = Greenroom.entities.value_of(id, "hp")
	var most: int = Greenroom.entities.value_of(id, "max_hp")
	if hp <= 0 or hp >= most:
		return
	draw_rect(Rect2(place - Vector2(9, 1.5), Vector2(18, 3)), Color(0, 0, 0, 0.5))
	draw_rect(Rect2(place - Vector2(9, 1.5), Vector2(18.0 * hp / most, 3)), Color("d9534f").lerp(Color("6cbf63"), float(hp) / most))


func _on_map_changed(area: Rect2i) -> void:
	var width: int = Greenroom.world.get("width", 0)
	var height: int = Greenroom.world.get("height", 0)
	var colours := PackedColorArray()
	for kind: String in Greenroom.world.get("tiles", []):
		colours.append(TILE_COLOURS.get(kind.to_lower(), UNKNOWN_TILE))
	if _image == null or _image.get_size() != Vector2i(width, height):
		_image = Image.create_empty(width, height, false, Image.FORMAT_RGB8)
		_texture = null
	for y in range(area.position.y, area.end.y):
		for x in range(area.position.x, area.end.x):
			var kind := Greenroom.tiles[y * width + x]
			var colour := colours[kind] if kind < colours.size() else UNKNOWN_TILE
			# A little unevenness, always the same for a place, so that meadows look grown.
			var grain := (((x * 7919 + y * 104729) ^ (x * y * 31)) & 15) / 15.0 - 0.5
			_image.set_pixel(x, y, colour.lightened(0.05 * grain) if grain > 0.0 else colour.darkened(-0.05 * grain))
	if _texture == null:
		_texture = ImageTexture.create_from_image(_image)
		_ground.texture = _texture
	else:
		_texture.update(_image)
