"""Who thinks: one face over llama.cpp and the clouds. Knows no world and no actor."""
