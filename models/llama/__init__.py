"""The local engine: llama.cpp in a child process that may die without taking the game along.

::

    host.py       what the rest of Greenroom holds: a Backend; starts, watches and restarts the child
    child.py      the process: pipes on one side, the engine on the other
    engine.py     one thread that decodes one batch of many sequences, over and over
    frames.py     length-prefixed msgpack, and the messages both sides speak
    gguf_file.py  reads a GGUF's header without llama.cpp, for a clear message
    library.py    the few llama.cpp calls the engine needs, typed
    template.py   chat messages to tokens; player text can never become a control token
    prefix.py     which KV sequences hold which tokens, and what may be shared or evicted
    sampling.py   logits to a token, seeded
    machine.py    what there is: cores.py, cgroups.py, and GPUs as a short-lived probe.py tells them
    facts.py      what a model takes, from its header; estimate.py adds it up
    fit.py        the plan: an engine's sizes for a model on a machine (sizing.py); reasons.py says why
    spawn.py      how the package's processes are started
"""
