"""What the protocol is, told from its messages: a page for people and AsyncAPI for tools."""
