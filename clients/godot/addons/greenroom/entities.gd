## The watched entities as a client knows them: one packed array a column, a row an entity.
##
## `apply_snapshot` and `apply_delta` take the wire's packed little-endian columns. Rows move when
## an entity leaves, so keep ids and never row numbers.
extends RefCounted

## What the bits of the column `flags` say.
enum Flag { PLAYER = 1, DEAD = 2, SPEAKS = 4, DOWNED = 8 }

## Bytes a value has on the wire, by column; `id` (8 bytes) comes beside them.
const WIDTHS := {
	"species": 2, "faction": 2, "x": 4, "y": 4, "hp": 4, "max_hp": 4,
	"action": 2, "mood": 2, "target": 8, "flags": 1,
}
const SIGNED_16 := "mood"
const MAX_ENTITIES := 65536

## Units a tile is wide; the server says so in `welcome`.
var units_per_tile := 256
## Ids, one a row.
var ids := PackedInt64Array()
## The other columns by name: PackedInt64Array for `target`, PackedInt32Array for the rest.
var columns := {}
## Names by id, of those that have one.
var names := {}
## The reason the last snapshot or delta was refused; empty when it was applied.
var error := ""

var _rows := {}


func _init() -> void:
	clear()


## How many entities are watched.
func size() -> int:
	return ids.size()


func has(id: int) -> bool:
	return _rows.has(id)


## Where the entity is, in tiles; zero when it is not watched.
func position_of(id: int) -> Vector2:
	var row: int = _rows.get(id, -1)
	if row < 0:
		return Vector2.ZERO
	return Vector2(columns.x[row], columns.y[row]) / units_per_tile


## One number of an entity: `value_of(id, "hp")`. Zero when it is not watched.
func value_of(id: int, column: String) -> int:
	var row: int = _rows.get(id, -1)
	return 0 if row < 0 else columns[column][row]


func name_of(id: int) -> String:
	return names.get(id, "")


func is_player(id: int) -> bool:
	return value_of(id, "flags") & Flag.PLAYER != 0


func is_dead(id: int) -> bool:
	return value_of(id, "flags") & Flag.DEAD != 0


## Whether `say` to it will be answered.
func speaks(id: int) -> bool:
	var flags := value_of(id, "flags")
	return flags & Flag.SPEAKS != 0 and flags & (Flag.DEAD | Flag.PLAYER) == 0


## Everything known about one entity, by column, with its `id` and `name`; empty when not watched.
func describe(id: int) -> Dictionary:
	var row: int = _rows.get(id, -1)
	if row < 0:
		return {}
	var found := {"id": id, "name": name_of(id)}
	for column: String in columns:
		found[column] = columns[column][row]
	return found


## The nearest entity to `place` (in tiles) within `reach` tiles that carries all flags of `with`
## and none of `without`; 0 when there is none. `besides` is left out: usually one's own body.
func nearest(place: Vector2, reach := INF, besides := 0, with := 0, without: int = Flag.DEAD) -> int:
	var xs: PackedInt32Array = columns.x
	var ys: PackedInt32Array = columns.y
	var all_flags: PackedInt32Array = columns.flags
	var best := 0
	var best_distance := reach * reach
	for row in ids.size():
		if ids[row] == besides or all_flags[row] & with != with or all_flags[row] & without:
			continue
		var distance := place.distance_squared_to(Vector2(xs[row], ys[row]) / units_per_tile)
		if distance <= best_distance:
			best_distance = distance
			best = ids[row]
	return best


## Forgets everything.
func clear() -> void:
	ids = PackedInt64Array()
	names = {}
	_rows = {}
	columns = {}
	for column: String in WIDTHS:
		columns[column] = PackedInt64Array() if column == "target" else PackedInt32Array()


## Replaces everything by a `snapshot`. False, with `error` set and nothing changed, when it is malformed.
func apply_snapshot(d: Dictionary) -> bool:
	var table := _unpack(d)
	if error != "":
		return false
	ids = table.id
	table.erase("id")
	columns = table
	_rows = {}
	for row in ids.size():
		_rows[ids[row]] = row
	names = {}
	_take_names(d.get("names", {}))
	return true


## Applies a `delta`: leave, enter, change, names. Returns the ids `{entered, left}`; on a
## malformed one `error` is set and the mirror can't be trusted until the next snapshot.
func apply_delta(d: Dictionary) -> Dictionary:
	error = ""
	var moves := {"entered": PackedInt64Array(), "left": PackedInt64Array()}
	var leave: Variant = d.get("leave")
	if leave != null:
		moves.left = _ids_in(leave)
		_remove(moves.left)
	var enter: Variant = d.get("enter")
	if enter != null:
		moves.entered = _append(enter)
	var change: Variant = d.get("change")
	if change is Dictionary:
		for column: Variant in change:
			# A column from a newer server is nothing to us.
			if WIDTHS.has(column):
				_change(column, change[column])
	_take_names(d.get("names", {}))
	return moves


func _refuse(reason: String) -> void:
	if error == "":
		error = reason


func _ids_in(bytes: Variant) -> PackedInt64Array:
	if not bytes is PackedByteArray or bytes.size() % 8 != 0:
		_refuse("ids are not packed as 8 bytes each")
		return PackedInt64Array()
	return bytes.to_int64_array()


# The columns of `packed` by name, `id` included; checks that all have the same number of rows.
func _unpack(packed: Variant) -> Dictionary:
	error = ""
	var table := {}
	if not packed is Dictionary or not packed.get("n") is int:
		_refuse("columns without a count")
		return table
	var count: int = packed.n
	if count < 0 or count > MAX_ENTITIES:
		_refuse("%d entities are more than the %d that fit" % [count, MAX_ENTITIES])
		return table
	table["id"] = _ids_in(packed.get("id"))
	if table.id.size() != count:
		_refuse("the ids are %d, the count says %d" % [table.id.size(), count])
		return table
	var before := 0
	for id: int in table.id:
		if id <= before:
			_refuse("the ids do not ascend")
			return table
		before = id
	for column: String in WIDTHS:
		table[column] = _values(column, packed.get(column), count)
	return table


func _values(column: String, bytes: Variant, count: int) -> Variant:
	var width: int = WIDTHS[column]
	if not bytes is PackedByteArray or bytes.size() != count * width:
		_refuse("the column %s does not hold %d values of %d bytes" % [column, count, width])
		return PackedInt32Array()
	var packed: PackedByteArray = bytes
	match width:
		8:
			return packed.to_int64_array()
		4:
			return packed.to_int32_array()
	var values := PackedInt32Array()
	values.resize(count)
	if width == 1:
		for row in count:
			values[row] = packed[row]
	elif column == SIGNED_16:
		for row in count:
			values[row] = packed.decode_s16(row * 2)
	else:
		for row in count:
			values[row] = packed.decode_u16(row * 2)
	return values


func _append(packed: Variant) -> PackedInt64Array:
	var table := _unpack(packed)
	if error != "":
		return PackedInt64Array()
	var entered: PackedInt64Array = table.id
	if ids.size() + entered.size() > MAX_ENTITIES:
		_refuse("more than %d entities" % MAX_ENTITIES)
		return PackedInt64Array()
	# Told again of one already here, the later word counts.
	_remove(entered)
	var first := ids.size()
	ids.append_array(entered)
	for column: String in WIDTHS:
		columns[column].append_array(table[column])
	for row in range(first, ids.size()):
		_rows[ids[row]] = row
	_take_names(packed.get("names", {}))
	return entered


# The last row takes the place of each that goes; column by column, since that is the fast way.
func _remove(gone: PackedInt64Array) -> void:
	var from := PackedInt32Array()
	var to := PackedInt32Array()
	var count := ids.size()
	for id in gone:
		var row: int = _rows.get(id, -1)
		if row < 0:
			continue
		count -= 1
		var moved := ids[count]
		ids[row] = moved
		_rows[moved] = row
		_rows.erase(id)
		names.erase(id)
		from.append(count)
		to.append(row)
	ids.resize(count)
	for column: String in columns:
		var values: Variant = columns[column]
		for index in to.size():
			values[to[index]] = values[from[index]]
		values.resize(count)


func _change(column: String, change: Variant) -> void:
	if not change is Dictionary:
		_refuse("a change of %s is no map" % column)
		return
	var changed := _ids_in(change.get("i"))
	var values: Variant = _values(column, change.get("v"), changed.size())
	if error != "":
		return
	var column_values: Variant = columns[column]
	for index in changed.size():
		var row: int = _rows.get(changed[index], -1)
		if row < 0:
			_refuse("a change of %s names an entity that is not watched" % column)
			return
		column_values[row] = values[index]


func _take_names(given: Variant) -> void:
	if not given is Dictionary:
		return
	for key: Variant in given:
		var id: int = key if key is int else str(key).to_int()
		if _rows.has(id):
			names[id] = str(given[key])
