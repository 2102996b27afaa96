## Joins, hunts down the nearest beast and strikes until it is hurt or dead.
extends "res://tests/scenario.gd"


func run() -> void:
	var blows := []
	var codes := {}
	greenroom.event_received.connect(
		func(event: Dictionary) -> void:
			if event.kind in ["attacked", "died", "downed"]:
				blows.append(event)
	)
	greenroom.connect_to(arguments[0], "Robin", {"radius": 96})
	var me: int = await greenroom.joined
	await until(func() -> bool: return greenroom.entities.has(me))
	var target := 0
	var committed := {}
	var hp_before := 0
	var hp_at := 0
	var last := Time.get_ticks_msec() + 90_000
	while Time.get_ticks_msec() < last:
		if not greenroom.entities.has(target) or greenroom.entities.is_dead(target):
			target = prey(me)
			hp_before = greenroom.entities.value_of(target, "hp")
		if target != 0:
			greenroom.move_to(greenroom.entities.position_of(target))
			var strike: RefCounted = greenroom.attack(target)
			await strike.wait()
			if strike.ok:
				committed = strike.reply
				await until(
					func() -> bool:
						return blows.any(func(blow: Dictionary) -> bool: return blow.entity == me and blow.target == target),
					5.0,
				)
				hp_at = greenroom.entities.value_of(target, "hp")
				break
			codes[strike.reply.code] = codes.get(strike.reply.code, 0) + 1
		var pause := Time.get_ticks_msec() + 150
		await until(func() -> bool: return Time.get_ticks_msec() > pause)
	report("fight", {
		"me": me, "target": target, "committed": committed, "codes": codes,
		"hp_before": hp_before, "hp_at": hp_at,
		"blows": blows.filter(func(blow: Dictionary) -> bool: return blow.entity == me),
	})


# The nearest that lives, is no player and can't speak: a beast, and no thing (things don't heal or hurt).
func prey(me: int) -> int:
	var best := 0
	var best_distance := INF
	for id: int in greenroom.entities.ids:
		if id == me or greenroom.entities.is_player(id) or greenroom.entities.is_dead(id):
			continue
		if greenroom.entities.speaks(id) or not kind_of(id) in arguments[1].split(","):
			continue
		var distance: float = greenroom.my_position().distance_to(greenroom.entities.position_of(id))
		if distance < best_distance:
			best_distance = distance
			best = id
	return best


func kind_of(id: int) -> String:
	return greenroom.world.species[greenroom.entities.value_of(id, "species")].name
