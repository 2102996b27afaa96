## One question to the server and what became of it.
##
##     var reply: Dictionary = await Greenroom.inspect(id).wait()
extends RefCounted

## Emitted once, with the reply's body, or with the error's when `ok` is false.
signal settled(reply: Dictionary)

## The message's type: "say", "move", "inspect" …
var type: String
## The message's body.
var body: Dictionary
## True once the server answered or the question was given up.
var is_settled := false
## True when the answer was no error.
var ok := false
## The answer's type: "done", "committed", "error" … Empty while there is none.
var reply_type := ""
## The answer's body; for an error `code`, `message`, `retryable`, `retry_after_ms`, `hint`.
var reply := {}

# The number on this connection; a repeated request gets a new one, its key stays.
var _id := 0
var _deadline_ms := 0
# What was spoken so far in answer to a `say`.
var _heard := ""


func _init(request_type: String, request_body: Dictionary) -> void:
	type = request_type
	body = request_body


## The reply's body, now or when it comes.
func wait() -> Dictionary:
	if not is_settled:
		await settled
	return reply


## For the client: notes the answer and wakes who waits.
func settle(answer_type: String, answer: Dictionary) -> void:
	if is_settled:
		return
	is_settled = true
	ok = answer_type != "error"
	reply_type = answer_type
	reply = answer
	settled.emit(answer)


## Whether sending it a second time does no harm: it carries an idempotency key.
func is_repeatable() -> bool:
	return body.has("key")
