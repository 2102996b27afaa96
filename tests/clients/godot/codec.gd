## Decodes and encodes again every frame of the input file, and says what it found in each.
extends "res://tests/scenario.gd"

const Msgpack := preload("res://addons/greenroom/msgpack.gd")


func run() -> void:
	var input: Dictionary = read_input()
	var codec := Msgpack.new(int(input.max_depth), int(input.max_bytes))
	for frame: String in input.frames:
		var value: Variant = codec.decode(frame.hex_decode())
		if codec.error != "":
			report("refused", {"reason": codec.error})
			continue
		var found: Variant = describe(value)
		report("decoded", {"value": found, "again": codec.encode(value).hex_encode()})


## A value with its type spelled out, since JSON knows neither bytes nor 64-bit integers.
static func describe(value: Variant) -> Variant:
	match typeof(value):
		TYPE_NIL:
			return ["nil"]
		TYPE_BOOL:
			return ["bool", value]
		TYPE_INT:
			return ["int", str(value)]
		TYPE_FLOAT:
			var bits := PackedByteArray()
			bits.resize(8)
			bits.encode_double(0, value)
			return ["float", bits.hex_encode()]
		TYPE_STRING:
			return ["str", value.to_utf8_buffer().hex_encode()]
		TYPE_PACKED_BYTE_ARRAY:
			return ["bin", value.hex_encode()]
		TYPE_ARRAY:
			return ["array", value.map(describe)]
		TYPE_DICTIONARY:
			var pairs := []
			for key: Variant in value:
				pairs.append([describe(key), describe(value[key])])
			return ["map", pairs]
	return ["unknown", type_string(typeof(value))]
