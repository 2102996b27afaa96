## MessagePack for the Greenroom wire: everything but extension types, with bounds on size and depth.
##
## nil, bool, int (64-bit signed), float, str, bin (PackedByteArray), array and map with text keys.
## What the protocol forbids is refused, and so is what Godot can't hold exactly: an integer above
## 2^63-1, NaN and infinities, text that is not UTF-8 or holds a NUL, a key twice in one map,
## extension types. After a call that failed, `error` says why.
extends RefCounted

const MAX_DEPTH := 16
const MAX_BYTES := 8 << 20
const HIGH_BITS := -0x7f7f7f7f7f7f7f80

## The reason the last call failed; empty when it succeeded.
var error := ""

var _max_depth: int
var _max_bytes: int
var _stream := StreamPeerBuffer.new()


func _init(max_depth := MAX_DEPTH, max_bytes := MAX_BYTES) -> void:
	_max_depth = max_depth
	_max_bytes = max_bytes
	_stream.big_endian = true


## The bytes of `value`, each part in its shortest form; empty with `error` set when it can't be.
func encode(value: Variant) -> PackedByteArray:
	error = ""
	_stream.data_array = PackedByteArray()
	_put(value, 0)
	if error == "" and _stream.get_size() > _max_bytes:
		error = "the message has %d bytes, the limit is %d" % [_stream.get_size(), _max_bytes]
	var bytes := PackedByteArray() if error != "" else _stream.data_array
	_stream.data_array = PackedByteArray()
	return bytes


## The value in `bytes`, which must hold exactly one; null with `error` set when they don't.
func decode(bytes: PackedByteArray) -> Variant:
	error = ""
	if bytes.size() > _max_bytes:
		error = "the message has %d bytes, the limit is %d" % [bytes.size(), _max_bytes]
		return null
	_stream.data_array = bytes
	var value: Variant = _get_value(0)
	if error == "" and _stream.get_available_bytes() > 0:
		error = "%d bytes follow the message" % _stream.get_available_bytes()
	_stream.data_array = PackedByteArray()
	return null if error != "" else value


func _refuse(reason: String) -> void:
	if error == "":
		error = reason


# --- encoding ---


func _put(value: Variant, depth: int) -> void:
	if error != "":
		return
	match typeof(value):
		TYPE_NIL:
			_stream.put_u8(0xc0)
		TYPE_BOOL:
			_stream.put_u8(0xc3 if value else 0xc2)
		TYPE_INT:
			_put_int(value)
		TYPE_FLOAT:
			_put_float(value)
		TYPE_STRING, TYPE_STRING_NAME, TYPE_NODE_PATH:
			_put_text(str(value))
		TYPE_PACKED_BYTE_ARRAY:
			_put_bin(value)
		TYPE_DICTIONARY:
			_put_map(value, depth + 1)
		TYPE_ARRAY, TYPE_PACKED_STRING_ARRAY, TYPE_PACKED_INT32_ARRAY, TYPE_PACKED_INT64_ARRAY:
			_put_array(value, depth + 1)
		TYPE_PACKED_FLOAT32_ARRAY, TYPE_PACKED_FLOAT64_ARRAY:
			_put_array(value, depth + 1)
		_:
			_refuse("a %s can't be sent; use plain values" % type_string(typeof(value)))


func _put_int(value: int) -> void:
	if value >= 0:
		if value < 0x80:
			_stream.put_u8(value)
		elif value <= 0xff:
			_put_head(0xcc, value, 1)
		elif value <= 0xffff:
			_put_head(0xcd, value, 2)
		elif value <= 0xffffffff:
			_put_head(0xce, value, 4)
		else:
			_stream.put_u8(0xcf)
			_stream.put_64(value)
	elif value >= -0x20:
		_stream.put_u8(value & 0xff)
	elif value >= -0x80:
		_stream.put_u8(0xd0)
		_stream.put_8(value)
	elif value >= -0x8000:
		_stream.put_u8(0xd1)
		_stream.put_16(value)
	elif value >= -0x80000000:
		_stream.put_u8(0xd2)
		_stream.put_32(value)
	else:
		_stream.put_u8(0xd3)
		_stream.put_64(value)


func _put_float(value: float) -> void:
	if not is_finite(value):
		_refuse("NaN and infinities are not part of the protocol")
	_stream.put_u8(0xcb)
	_stream.put_double(value)


# A type byte followed by an unsigned number of `width` bytes.
func _put_head(type: int, number: int, width: int) -> void:
	_stream.put_u8(type)
	match width:
		1:
			_stream.put_u8(number)
		2:
			_stream.put_u16(number)
		_:
			_stream.put_u32(number)


func _put_text(text: String) -> void:
	var bytes := text.to_utf8_buffer()
	var length := bytes.size()
	if length < 32:
		_stream.put_u8(0xa0 | length)
	elif length <= 0xff:
		_put_head(0xd9, length, 1)
	elif length <= 0xffff:
		_put_head(0xda, length, 2)
	else:
		_put_head(0xdb, length, 4)
	_stream.put_data(bytes)


func _put_bin(bytes: PackedByteArray) -> void:
	var length := bytes.size()
	if length <= 0xff:
		_put_head(0xc4, length, 1)
	elif length <= 0xffff:
		_put_head(0xc5, length, 2)
	else:
		_put_head(0xc6, length, 4)
	_stream.put_data(bytes)


func _put_array(values: Variant, depth: int) -> void:
	if depth > _max_depth:
		_refuse("nested deeper than %d" % _max_depth)
		return
	var count: int = values.size()
	if count < 16:
		_stream.put_u8(0x90 | count)
	elif count <= 0xffff:
		_put_head(0xdc, count, 2)
	else:
		_put_head(0xdd, count, 4)
	for value: Variant in values:
		_put(value, depth)


func _put_map(map: Dictionary, depth: int) -> void:
	if depth > _max_depth:
		_refuse("nested deeper than %d" % _max_depth)
		return
	var count := map.size()
	if count < 16:
		_stream.put_u8(0x80 | count)
	elif count <= 0xffff:
		_put_head(0xde, count, 2)
	else:
		_put_head(0xdf, count, 4)
	for key: Variant in map:
		if not key is String and not key is StringName:
			_refuse("the keys of a map are texts, not %s" % type_string(typeof(key)))
			return
		_put_text(key)
		_put(map[key], depth)


# --- decoding ---


func _get_value(depth: int) -> Variant:
	if not _have(1):
		return null
	var type := _stream.get_u8()
	if type < 0x80:
		return type
	if type < 0x90:
		return _get_map(type & 0x0f, depth + 1)
	if type < 0xa0:
		return _get_array(type & 0x0f, depth + 1)
	if type < 0xc0:
		return _get_text(type & 0x1f)
	if type >= 0xe0:
		return type - 0x100
	match type:
		0xc0:
			return null
		0xc2:
			return false
		0xc3:
			return true
		0xc4, 0xc5, 0xc6:
			return _get_bytes(_get_length(1 << (type - 0xc4)))
		0xca:
			return _finite(_stream.get_float()) if _have(4) else null
		0xcb:
			return _finite(_stream.get_double()) if _have(8) else null
		0xcc, 0xcd, 0xce:
			return _get_length(1 << (type - 0xcc))
		0xcf:
			return _get_large()
		0xd0:
			return _stream.get_8() if _have(1) else null
		0xd1:
			return _stream.get_16() if _have(2) else null
		0xd2:
			return _stream.get_32() if _have(4) else null
		0xd3:
			return _stream.get_64() if _have(8) else null
		0xd9, 0xda, 0xdb:
			return _get_text(_get_length(1 << (type - 0xd9)))
		0xdc, 0xdd:
			return _get_array(_get_length(2 << (type - 0xdc)), depth + 1)
		0xde, 0xdf:
			return _get_map(_get_length(2 << (type - 0xde)), depth + 1)
		0xc1:
			_refuse("type byte 0xc1 is never used")
		_:
			_refuse("extension types are not part of the protocol")
	return null


# False, with the reason noted, when fewer than `count` bytes are left.
func _have(count: int) -> bool:
	if error != "":
		return false
	if _stream.get_available_bytes() < count:
		_refuse("the message ends in the middle of a value")
		return false
	return true


func _get_length(width: int) -> int:
	if not _have(width):
		return 0
	match width:
		1:
			return _stream.get_u8()
		2:
			return _stream.get_u16()
		_:
			return _stream.get_u32()


func _get_large() -> int:
	if not _have(8):
		return 0
	var value := _stream.get_64()
	if value < 0:
		_refuse("an integer above 2^63-1 does not fit")
	return value


func _finite(value: float) -> float:
	if not is_finite(value):
		_refuse("NaN and infinities are not part of the protocol")
	return value


func _get_bytes(length: int) -> PackedByteArray:
	if length == 0 or not _have(length):
		return PackedByteArray()
	return _stream.get_data(length)[1]


func _get_text(length: int) -> String:
	var bytes := _get_bytes(length)
	if error != "":
		return ""
	if not is_utf8(bytes):
		_refuse("a text is not UTF-8, or holds a NUL")
		return ""
	var text := bytes.get_string_from_utf8()
	# Godot takes a leading byte order mark for a file's and drops it; in a message it is text.
	if bytes.size() >= 3 and bytes[0] == 0xef and bytes[1] == 0xbb and bytes[2] == 0xbf:
		return char(0xfeff) + text
	return text


func _get_array(count: int, depth: int) -> Array:
	# Each element takes a byte at least, so a false count can't make us allocate.
	if depth > _max_depth:
		_refuse("nested deeper than %d" % _max_depth)
	if not _have(count):
		return []
	var values := []
	values.resize(count)
	for index in count:
		values[index] = _get_value(depth)
		if error != "":
			return []
	return values


func _get_map(count: int, depth: int) -> Dictionary:
	if depth > _max_depth:
		_refuse("nested deeper than %d" % _max_depth)
	if not _have(2 * count):
		return {}
	var map := {}
	for index in count:
		var key: Variant = _get_value(depth)
		if error == "" and not key is String:
			_refuse("the keys of a map are texts, not %s" % type_string(typeof(key)))
		elif map.has(key):
			_refuse("the key %s comes twice in one map" % key)
		map[key] = _get_value(depth)
		if error != "":
			return {}
	return map


## Whether `bytes` are well-formed UTF-8 (RFC 3629) without NUL, which a Godot String can't hold.
static func is_utf8(bytes: PackedByteArray) -> bool:
	if bytes.has(0):
		return false
	var size := bytes.size()
	var at := 0
	while at < size:
		# Most text is ASCII: eight bytes at a time while no high bit is set.
		if at + 8 <= size and bytes.decode_u64(at) & HIGH_BITS == 0:
			at += 8
			continue
		var lead := bytes[at]
		at += 1
		if lead < 0x80:
			continue
		var low := 0x80
		var high := 0xbf
		var more := 1
		if lead < 0xc2 or lead > 0xf4:
			return false
		if lead >= 0xf0:
			more = 3
			if lead == 0xf0:
				low = 0x90
			elif lead == 0xf4:
				high = 0x8f
		elif lead >= 0xe0:
			more = 2
			if lead == 0xe0:
				low = 0xa0
			elif lead == 0xed:
				high = 0x9f
		if at + more > size or bytes[at] < low or bytes[at] > high:
			return false
		for index in range(at + 1, at + more):
			if bytes[index] < 0x80 or bytes[index] > 0xbf:
				return false
		at += more
	return true
