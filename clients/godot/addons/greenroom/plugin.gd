@tool
## Registers the autoload `Greenroom` while the addon is enabled in the project settings.
extends EditorPlugin

const AUTOLOAD := "Greenroom"


func _enable_plugin() -> void:
	add_autoload_singleton(AUTOLOAD, "res://addons/greenroom/greenroom.gd")


func _disable_plugin() -> void:
	remove_autoload_singleton(AUTOLOAD)
