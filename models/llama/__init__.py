"""The local engine: llama.cpp in a child process that may die without taking the game along.

::

    host.py       what the rest of Greenroom holds: a Backend; adapters.py keeps its LoRA adapters
    embedder.py   and an Embedder, over a child of its own
    lifecycle.py  starts, watches and restarts a child, for both
    deaths.py     how a child's death is judged: tried again, smaller, or given up; shortage.py knows the words
    underway.py   what it was asked and has not answered
    channel.py    the pipes to it
    child.py      the process: pipes on one side, an engine on the other
    engine.py     one thread that decodes one batch of many sequences, over and over; inbox.py feeds it
    intake.py     a request becomes a job (job.py): its window, grammar and hidden reasoning (thinking.py)
    schedule.py   whose turn it is: classes, turns inside a class, adapter cohorts; pace.py says how much
    embedding.py  one thread that makes vectors of many texts at once (llama.cpp's part: embedding_model.py)
    frames.py     length-prefixed msgpack, and the messages both sides speak
    gguf_file.py  reads a GGUF's header without llama.cpp, for a clear message; gguf_parts.py those of one that is split
    library.py    loading a GGUF and its vocabulary, typed; spoken_log.py says llama.cpp's errors on stderr
    context.py    the KV memory of many sequences, decoded in batches; streams.py where each has cells of its own
    template.py   chat messages to tokens; player text can never become a control token
    prefix.py     which KV sequences hold which tokens, and what may be shared or evicted; spill.py keeps the cold ones
    sampling.py   logits to a token, seeded
    minilm.py     makes all-MiniLM-L6-v2 a GGUF
    machine.py    what there is: cores.py, cgroups.py, and GPUs as a short-lived probe.py tells them
    facts.py      what a model takes, from its header; estimate.py adds it up
    fit.py        the plan: an engine's sizes for a model on a machine (sizing.py); reasons.py says why
    layouts.py    unified KV memory or streams, by their times here: layout_measure.py has a short-lived layout_race.py
                  take them, layout_file.py keeps them
    spawn.py      how the package's processes are started
"""
