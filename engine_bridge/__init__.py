"""WebSocket + msgpack for game engines, HTTP and the dashboard for people."""
