"""The commands, a module each; `greenroom.cli` hangs them on one program."""
