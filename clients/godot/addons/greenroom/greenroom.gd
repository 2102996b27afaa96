## The autoload `Greenroom`: a game's door to a Greenroom server.
##
##     Greenroom.connect_to("ws://127.0.0.1:8765", "Robin")
##     await Greenroom.entities_changed
##     var npc := Greenroom.nearest_speaker()
##     await Greenroom.walk_up_to(npc)
##     Greenroom.say(npc, "Good evening! What news?")
##
## Positions are in tiles, ids are ints. Every call returns at once with a request whose
## `wait()` gives the answer; what goes on by itself arrives as the signals below.
extends Node

## A session began, or goes on after a cut when `resumed`. `world` is described by `welcome.world`.
signal connected(welcome: Dictionary, resumed: bool)
## The connection ended. When `retrying`, it is mended without your doing.
signal disconnected(code: int, reason: String, retrying: bool)
## Your body `entity` stands in the world.
signal joined(entity: int)
## `speaker` said the next piece of the answer to your `say`.
signal speech_piece(speaker: int, piece: String)
## `speaker` ended; `text` is the whole answer and replaces the pieces. `source` names who thought
## of it: a model, or "reflex".
signal speech_done(speaker: int, text: String, source: String)
## An entity came into sight.
signal entity_entered(id: int)
## An entity went out of sight, or out of the world.
signal entity_left(id: int)
## `entities` holds the state of `tick`.
signal entities_changed(tick: int)
## A rectangle of `tiles` changed.
signal map_changed(area: Rect2i)
## Something happened: `{tick, kind, entity, target, data}`.
signal event_received(event: Dictionary)
## A request came to nothing. `code` is one of the protocol's, or "disconnected", "timed_out",
## "not_connected" or "too_many" when it was this client that gave it up.
signal request_failed(type: String, code: String, message: String)
## The same, whole: `{code, message, hint, retryable, retry_after_ms}`. `hint` says what mends it, or is
## empty. Emitted right after `request_failed`, which keeps its three arguments: a handler that takes
## three can't be called with four.
signal request_error(type: String, error: Dictionary)

const Connection := preload("connection.gd")
const Entities := preload("entities.gd")
const Request := preload("request.gd")

const MAX_PENDING := 128
const TIMEOUT_MS := 60_000
const STEP_SECONDS := 0.4
const HINTS := {
	"too_many": "wait for answers before asking more",
	"timed_out": "ask again",
}
const STUCK_STEPS := 12

## Everyone in sight.
var entities := Entities.new()
## What holds for the whole world: scene, width, height, species, actions … (`welcome.world`).
var world := {}
## The map: `width * height` tile kinds, row by row.
var tiles := PackedByteArray()
## The tick that `entities` shows.
var tick := 0
## "dawn", "morning", "noon", "afternoon", "evening" or "night".
var time_of_day := ""
## Your body's id; 0 while you have none.
var me := 0
## True between `connected` and `disconnected`.
var is_open: bool:
	get:
		return _connection.state == Connection.State.READY

var _connection := Connection.new()
var _pending := {}
var _waiting: Array[Request] = []
var _epoch := 0
var _player_name := ""
var _watch := {}
var _key_stem := ""
var _key_count := 0


func _ready() -> void:
	process_mode = Node.PROCESS_MODE_ALWAYS
	_connection.opened.connect(_on_opened)
	_connection.closed.connect(_on_closed)
	_connection.message_received.connect(_on_message)


func _process(_delta: float) -> void:
	_connection.poll()
	_give_up_late()


func _exit_tree() -> void:
	disconnect_from_server()


# --- the connection ---


## Connects, and reconnects whenever the connection breaks. With a `player_name` you join the
## world and watch what is around you; without one, call `watch` to look on.
## `options`: `token` for servers that ask for one, `client` (your game's name), `radius` in tiles.
func connect_to(url: String, player_name := "", options := {}) -> void:
	_forget_world()
	_fail_all("disconnected", "a new connection was asked for")
	_key_stem = "%08x%08x" % [randi(), randi()]
	_player_name = player_name
	_watch = {}
	if player_name != "":
		_watch = {"all": false}
		if options.has("radius"):
			_watch["radius"] = int(options.radius)
	var client: String = options.get("client", ProjectSettings.get_setting("application/config/name", ""))
	_connection.open(url, "godot" if client.strip_edges() == "" else client.left(64), str(options.get("token", "")))


## Takes your body out of the world and ends the connection.
func disconnect_from_server() -> void:
	if me != 0:
		_connection.send("leave", {"key": _new_key()})
	_connection.close()
	_fail_all("disconnected", "the connection was closed")
	_forget_world()


# --- what you can ask ---


## Makes a body for you; `joined` tells when it stands in the world.
func join(player_name: String) -> Request:
	_player_name = player_name
	return _ask("join", {"name": player_name, "key": _new_key()})


## Takes your body out of the world.
func leave() -> Request:
	_player_name = ""
	return _ask("leave", {"key": _new_key()})


## Chooses what you see: `radius` tiles around your body (0: the server's usual), or, for
## spectators, `all`.
func watch(radius := 0, all := false) -> Request:
	_watch = {"all": all}
	if radius > 0:
		_watch["radius"] = radius
	return _ask("watch", _watch)


## Speaks to someone. The answer comes as `speech_piece` and `speech_done`. `options` may hold `backend`,
## the model to ask first, and `cache`: "use" a kept answer, "refresh" it, or "off".
func say(to: int, text: String, options := {}) -> Request:
	var body := {"to": to, "text": text, "key": _new_key()}
	for name: String in ["backend", "cache"]:
		if options.has(name):
			body[name] = str(options[name])
	return _ask("say", body)


## Walks towards a place, in tiles.
func move_to(place: Vector2) -> Request:
	var units := Vector2i((place * entities.units_per_tile).round()).max(Vector2i.ZERO)
	return _ask("move", {"x": units.x, "y": units.y, "key": _new_key()})


## Strikes someone within reach.
func attack(target: int) -> Request:
	return _ask("attack", {"target": target, "key": _new_key()})


## Uses a thing within reach: a well, a lever, a shrine.
func use(target: int) -> Request:
	return _ask("use", {"target": target, "key": _new_key()})


## Proposes any action of `world.actions`, mods' included.
func act(action: String, body := {}) -> Request:
	return _ask("act", {"action": action, "body": body, "key": _new_key()})


## Asks what can be known of an entity: what it does, how it feels, who is near.
func inspect(id: int) -> Request:
	return _ask("inspect", {"entity": id})


## Withdraws a `say` under way.
func cancel(request: Request) -> Request:
	return _ask("cancel", {"id": request._id})


# --- shortcuts ---


## Where you are, in tiles.
func my_position() -> Vector2:
	return entities.position_of(me)


## Who in sight is nearest and would answer; 0 when nobody is within `reach` tiles.
func nearest_speaker(reach := INF) -> int:
	var without := Entities.Flag.DEAD | Entities.Flag.PLAYER
	return entities.nearest(my_position(), reach, me, Entities.Flag.SPEAKS, without)


## Walks up to someone, wherever they go; to be waited for. False when they are gone, or there is no way.
func walk_up_to(id: int, distance := 3.0) -> bool:
	var nearest := INF
	var stuck := 0
	while stuck <= STUCK_STEPS and entities.has(id) and entities.has(me):
		var left := my_position().distance_to(entities.position_of(id))
		if left <= distance:
			return true
		if left < nearest - 0.1:
			nearest = left
			stuck = 0
		stuck += 1
		move_to(entities.position_of(id))
		await get_tree().create_timer(STEP_SECONDS).timeout
	return false


## The kind of tile at `place`; -1 outside the map.
func tile_at(place: Vector2i) -> int:
	var width: int = world.get("width", 0)
	if place.x < 0 or place.y < 0 or place.x >= width or place.y >= world.get("height", 0):
		return -1
	return tiles[place.y * width + place.x]


# --- requests ---


# Unique for each thing asked, so that asking again after a cut does not do it twice.
func _new_key() -> String:
	_key_count += 1
	return "%s-%d" % [_key_stem, _key_count]


func _ask(type: String, body: Dictionary) -> Request:
	var request := Request.new(type, body)
	request._deadline_ms = Time.get_ticks_msec() + TIMEOUT_MS
	if _connection.state == Connection.State.IDLE:
		_fail_soon(request, "not_connected", "call connect_to first")
	elif _pending.size() + _waiting.size() >= MAX_PENDING:
		_fail_soon(request, "too_many", "%d requests are under way" % MAX_PENDING)
	elif not is_open:
		_waiting.append(request)
	elif not _send(request):
		_fail_soon(request, "not_sent", "the message could not be sent")
	return request


func _send(request: Request) -> bool:
	request._id = _connection.send(request.type, request.body)
	if request._id > 0:
		_pending[request._id] = request
	return request._id > 0


# Not at once: who asked must be able to wait first.
func _fail_soon(request: Request, code: String, message: String) -> void:
	_fail.call_deferred(request, _error(code, message, false))


func _fail(request: Request, error: Dictionary) -> void:
	_tell_failure(request.type, error)
	request.settle("error", error)


func _tell_failure(type: String, error: Dictionary) -> void:
	request_failed.emit(type, str(error.get("code", "")), str(error.get("message", "")))
	request_error.emit(type, error)


# An error of this client's own, with the fields of the server's.
func _error(code: String, message: String, retryable: bool) -> Dictionary:
	var hint: String = HINTS.get(code, "")
	return {"code": code, "message": message, "hint": hint, "retryable": retryable, "retry_after_ms": 0}


func _fail_all(code: String, message: String) -> void:
	var given_up: Array = _pending.values() + _waiting
	_pending = {}
	_waiting = []
	for request: Request in given_up:
		_fail(request, _error(code, message, true))


func _give_up_late() -> void:
	var now := Time.get_ticks_msec()
	for id: int in _pending.keys():
		if now > _pending[id]._deadline_ms:
			var late: Request = _pending[id]
			_pending.erase(id)
			_fail(late, _error("timed_out", "no answer in time", true))
	while not _waiting.is_empty() and now > _waiting[0]._deadline_ms:
		_fail(_waiting.pop_front(), _error("timed_out", "no connection in time", true))


# --- what the connection tells ---


func _on_opened(welcome: Dictionary, resumed: bool) -> void:
	var facts: Variant = welcome.get("world")
	world = facts if facts is Dictionary else {}
	entities.units_per_tile = maxi(1, int(world.get("tile", 256)))
	var unanswered: Array = _pending.values()
	_pending = {}
	connected.emit(welcome, resumed)
	if resumed:
		for request: Request in unanswered:
			if request.is_repeatable():
				_send(request)
			else:
				_fail(request, _error("disconnected", "the connection was cut", true))
	else:
		me = 0
		for request: Request in unanswered:
			_fail(request, _error("disconnected", "the session was lost", true))
		if _player_name != "":
			join(_player_name)
		if _watch.get("all", false):
			_ask("watch", _watch)
	var held := _waiting
	_waiting = []
	for request: Request in held:
		if not _send(request):
			_fail(request, _error("not_sent", "the message could not be sent", true))


func _on_closed(code: int, reason: String, retrying: bool) -> void:
	if not retrying:
		_fail_all("disconnected", reason)
	disconnected.emit(code, reason, retrying)


func _on_message(message: Dictionary) -> void:
	var d: Dictionary = message.d
	if message.has("re"):
		_on_reply(message.t, message.re, d)
		return
	match message.t:
		"snapshot":
			_on_snapshot(d)
		"delta":
			_on_delta(d)
		"event":
			event_received.emit(d)
		"tiles":
			_on_tiles(d)
		"error":
			_tell_failure("", d)


func _on_reply(type: String, re: Variant, d: Dictionary) -> void:
	var request: Request = _pending.get(re)
	if request == null:
		return
	if type == "speech" or type == "progress":
		request._deadline_ms = Time.get_ticks_msec() + TIMEOUT_MS
		if type == "speech":
			_on_piece(request, d)
		return
	_pending.erase(re)
	if type == "error":
		_fail(request, d)
		return
	match request.type:
		"join":
			me = int(d.get("entity", 0))
			# What is around a body can be watched once there is one.
			if not _watch.get("all", true):
				_ask("watch", _watch)
			joined.emit(me)
		"leave":
			me = 0
		"say":
			speech_done.emit(int(request.body.to), str(d.get("text", "")), str(d.get("source", "")))
	request.settle(type, d)


func _on_piece(request: Request, d: Dictionary) -> void:
	var text := str(d.get("text", ""))
	# Asked again after a cut, the server begins with all that was said so far.
	if d.get("n") == 0 and text.begins_with(request._heard):
		text = text.substr(request._heard.length())
	if text != "":
		request._heard += text
		speech_piece.emit(int(request.body.to), text)


func _on_snapshot(d: Dictionary) -> void:
	var before := entities.ids.duplicate()
	var same_world: bool = d.get("epoch", 0) == _epoch
	if not entities.apply_snapshot(d):
		_connection.fail(entities.error)
		return
	_epoch = int(d.get("epoch", 0))
	tick = int(d.get("tick", 0))
	time_of_day = str(d.get("time", ""))
	var map: Variant = d.get("tiles")
	if map is PackedByteArray and map.size() == int(world.get("width", 0)) * int(world.get("height", 0)):
		tiles = map
		map_changed.emit(Rect2i(0, 0, world.get("width", 0), world.get("height", 0)))
	# In another epoch an equal id is another being.
	var known := {}
	for id in before:
		known[id] = true
		if not same_world or not entities.has(id):
			entity_left.emit(id)
	for id in entities.ids.duplicate():
		if not same_world or not known.has(id):
			entity_entered.emit(id)
	entities_changed.emit(tick)


func _on_delta(d: Dictionary) -> void:
	var moves := entities.apply_delta(d)
	if entities.error != "":
		_connection.fail(entities.error)
		return
	tick = int(d.get("tick", tick))
	if d.get("time") is String:
		time_of_day = d.time
	for id: int in moves.left:
		entity_left.emit(id)
	for id: int in moves.entered:
		entity_entered.emit(id)
	entities_changed.emit(tick)


func _on_tiles(d: Dictionary) -> void:
	var area := Rect2i(int(d.get("x", 0)), int(d.get("y", 0)), int(d.get("w", 0)), int(d.get("h", 0)))
	var width: int = world.get("width", 0)
	var data: Variant = d.get("data")
	var map := Rect2i(0, 0, width, world.get("height", 0))
	if not map.encloses(area) or not data is PackedByteArray or data.size() != area.get_area():
		_connection.fail("a change of tiles that does not fit the map")
		return
	# Before the first snapshot there is no map to change; that one will hold the change.
	if tiles.is_empty():
		return
	for row in area.size.y:
		for column in area.size.x:
			tiles[(area.position.y + row) * width + area.position.x + column] = data[row * area.size.x + column]
	map_changed.emit(area)


func _forget_world() -> void:
	entities.clear()
	tiles = PackedByteArray()
	tick = 0
	me = 0
	_epoch = 0
