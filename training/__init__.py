"""The house model's corpus, tokenizer, trainer, exporter and evaluation."""
