## One connection that mends itself: socket, hello, heartbeats, acknowledgements, resume after a cut.
##
## Give it time by calling `poll` each frame; it never blocks and works for a bounded time per call.
extends RefCounted

## The server is ready. `welcome` is its first answer; `resumed` says that the old session goes on.
signal opened(welcome: Dictionary, resumed: bool)
## The socket is gone. `code` is the close code, -1 when there was none.
signal closed(code: int, reason: String, retrying: bool)
## A message that is not the connection's own business.
signal message_received(message: Dictionary)

enum State { IDLE, WAITING, CONNECTING, GREETING, READY }

const Msgpack := preload("msgpack.gd")
const SUBPROTOCOL := "greenroom.v1.msgpack"
const SDK := "greenroom-godot 0.1.0"
const CONNECT_MS := 10_000
const FIRST_BACKOFF_MS := 500
const LAST_BACKOFF_MS := 15_000
const ACK_MS := 500
const LOST_AFTER_HEARTBEATS := 3.0
const INBOUND_BYTES := 8 << 20
const OUTBOUND_BYTES := 1 << 20
const QUEUED_PACKETS := 4096
## Close codes after which trying again can't help: wrong version, session replaced, wrong token.
const FINAL_CODES := [4001, 4008, 4009]

var state := State.IDLE
## The server's `welcome`, from the last time it was said.
var welcome := {}
## How long one `poll` may work through messages, in microseconds.
var budget_usec := 4000

var _url := ""
var _client := "godot"
var _token := ""
var _codec := Msgpack.new()
var _socket: WebSocketPeer
var _next_id := 1
var _hello_id := 0
var _resume_id := 0
var _resume_token := ""
var _last_seq := 0
var _acked_seq := 0
var _ack_due_ms := 0
var _heard_ms := 0
var _heartbeat_ms := 10_000
var _backoff_ms := FIRST_BACKOFF_MS
var _due_ms := 0
var _goodbye := ""


## Starts connecting to `url` and keeps at it until `close`.
func open(url: String, client: String, token: String) -> void:
	close()
	_url = url
	_client = client
	_token = token
	_resume_token = ""
	_backoff_ms = FIRST_BACKOFF_MS
	_connect_socket()


## Ends the connection for good; the session is not resumed.
func close() -> void:
	var was := state
	state = State.IDLE
	if _socket != null:
		_socket.close(1000)
		_socket.poll()
		_socket = null
	if was != State.IDLE:
		closed.emit(1000, "closed", false)


## Cuts a connection whose state can't be trusted; it is mended with a fresh snapshot.
func fail(reason: String) -> void:
	_lose(-1, reason)


## Sends a message and returns its number, or 0 when it can't go out now.
func send(type: String, body: Dictionary) -> int:
	if state != State.READY:
		return 0
	return _send(type, body)


## Moves everything on that can move without waiting.
func poll() -> void:
	var now := Time.get_ticks_msec()
	match state:
		State.IDLE:
			return
		State.WAITING:
			if now >= _due_ms:
				_connect_socket()
			return
	var socket := _socket
	socket.poll()
	var began := Time.get_ticks_usec()
	while socket == _socket and socket.get_available_packet_count() > 0:
		_take(socket.get_packet())
		if Time.get_ticks_usec() - began > budget_usec:
			break
	if socket != _socket:
		return
	match socket.get_ready_state():
		WebSocketPeer.STATE_OPEN:
			if state == State.CONNECTING:
				_greet()
		WebSocketPeer.STATE_CLOSED:
			if socket.get_available_packet_count() == 0:
				_lose(socket.get_close_code(), socket.get_close_reason())
			return
	_keep_alive(now)


func _connect_socket() -> void:
	_socket = WebSocketPeer.new()
	_socket.supported_protocols = PackedStringArray([SUBPROTOCOL])
	_socket.inbound_buffer_size = INBOUND_BYTES
	_socket.outbound_buffer_size = OUTBOUND_BYTES
	_socket.max_queued_packets = QUEUED_PACKETS
	_goodbye = ""
	_due_ms = Time.get_ticks_msec() + CONNECT_MS
	state = State.CONNECTING
	var problem := _socket.connect_to_url(_url)
	if problem != OK:
		_lose(-1, "can't connect to %s: %s" % [_url, error_string(problem)])


func _greet() -> void:
	if _socket.get_selected_protocol() != SUBPROTOCOL:
		_give_up(4001, "the server at %s does not speak %s" % [_url, SUBPROTOCOL])
		return
	state = State.GREETING
	_heard_ms = Time.get_ticks_msec()
	_due_ms = _heard_ms + CONNECT_MS
	_next_id = 1
	var hello := {"client": _client, "sdk": SDK, "features": []}
	if _token != "":
		hello["token"] = _token
	_hello_id = _send("hello", hello)


func _send(type: String, body: Dictionary) -> int:
	var id := _next_id
	_next_id += 1
	return id if _send_frame({"t": type, "id": id, "d": body}) else 0


func _send_frame(message: Dictionary) -> bool:
	var frame := _codec.encode(message)
	if _codec.error != "":
		push_warning("Greenroom: %s not sent: %s" % [message.t, _codec.error])
		return false
	return _socket.send(frame, WebSocketPeer.WRITE_MODE_BINARY) == OK


func _take(frame: PackedByteArray) -> void:
	_heard_ms = Time.get_ticks_msec()
	var message: Variant = _codec.decode(frame)
	if not message is Dictionary or not message.get("t") is String or not message.get("d") is Dictionary:
		_lose(-1, "not a message of the protocol: %s" % _codec.error)
		return
	if message.has("seq"):
		if not message.seq is int or message.seq <= _last_seq:
			return
		_last_seq = message.seq
	match message.t:
		"heartbeat":
			_acknowledge()
		"goodbye":
			_goodbye = str(message.d.get("reason", ""))
		_:
			if state == State.GREETING:
				_take_greeting(message)
			else:
				message_received.emit(message)


func _take_greeting(message: Dictionary) -> void:
	var re: Variant = message.get("re")
	if re == _hello_id and message.t == "welcome":
		welcome = message.d
		_heartbeat_ms = int(float(welcome.get("heartbeat_s", 10.0)) * 1000.0)
		if _resume_token == "":
			_begin_session(false)
			return
		_resume_id = _send("resume", {"token": _resume_token, "last_seq": _last_seq})
	elif re == _resume_id and message.t == "resumed":
		_begin_session(true)
	elif re == _resume_id and message.t == "error":
		_begin_session(false)
	elif re == _hello_id and message.t == "error":
		_goodbye = str(message.d.get("message", ""))


func _begin_session(resumed: bool) -> void:
	state = State.READY
	_backoff_ms = FIRST_BACKOFF_MS
	if not resumed:
		_resume_token = str(welcome.get("resume_token", ""))
		_last_seq = 0
		_acked_seq = 0
	opened.emit(welcome, resumed)


func _keep_alive(now: int) -> void:
	if state == State.READY:
		if _last_seq > _acked_seq and now >= _ack_due_ms:
			_acknowledge()
		if now - _heard_ms > _heartbeat_ms * LOST_AFTER_HEARTBEATS:
			_lose(-1, "the server fell silent")
	elif now >= _due_ms:
		_lose(-1, "no answer from %s" % _url)


# An acknowledgement is also the sign of life that answers a heartbeat.
func _acknowledge() -> void:
	if state != State.READY:
		return
	_acked_seq = _last_seq
	_ack_due_ms = Time.get_ticks_msec() + ACK_MS
	_send_frame({"t": "ack", "d": {"seq": _last_seq}})


func _lose(code: int, reason: String) -> void:
	if code in FINAL_CODES:
		_give_up(code, reason)
		return
	_drop_socket()
	state = State.WAITING
	# Spread out, so that a server that comes back is not met by everyone at once.
	_due_ms = Time.get_ticks_msec() + int(_backoff_ms * randf_range(0.75, 1.25))
	_backoff_ms = mini(_backoff_ms * 2, LAST_BACKOFF_MS)
	closed.emit(code, _why(reason), true)


func _give_up(code: int, reason: String) -> void:
	_drop_socket()
	state = State.IDLE
	closed.emit(code, _why(reason), false)


func _drop_socket() -> void:
	if _socket != null:
		_socket.close()
		_socket = null


func _why(reason: String) -> String:
	if reason != "":
		return reason
	return _goodbye if _goodbye != "" else "the connection was lost"
