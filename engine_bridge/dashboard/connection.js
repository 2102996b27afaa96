// One connection to the game socket that mends itself: hello, requests, acknowledgements, resume.

import { decode, encode } from "./msgpack.js";

const SUBPROTOCOL = "greenroom.v1.msgpack";
const SDK = "greenroom-dashboard 0.1.0";
const FIRST_BACKOFF_MS = 500;
const LAST_BACKOFF_MS = 15_000;
const ACK_MS = 500;
const REQUEST_MS = 60_000;
const MAX_PENDING = 64;
const FINAL_CODES = [4001, 4008, 4009];

/** The server's error to a request, or ours when it can't be asked. */
export class RequestError extends Error {
  constructor({ code, message, hint = "" }) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

/**
 * `on.open(welcome, resumed)`, `on.close(reason, retrying)` and `on.push(message)` are called as
 * things happen. What `on.push` throws ends the connection, which then begins anew.
 */
export class Connection {
  constructor(url, token, on) {
    this.url = url;
    this.token = token;
    this.on = on;
    this.pending = new Map();
    this.unanswered = [];
    this.resumeToken = "";
    this.lastSeq = 0;
    this.backoff = FIRST_BACKOFF_MS;
    this.ready = false;
    this.stopped = false;
    this.keyStem = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.keys = 0;
  }

  start() {
    this.nextId = 1;
    this.heard = performance.now();
    const socket = new WebSocket(this.url, SUBPROTOCOL);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () =>
      this.greet().catch((error) => socket === this.socket && this.lose(error.message));
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = ({ code, reason }) => this.closed(socket, code, reason);
  }

  stop() {
    this.stopped = true;
    this.socket.close(1000);
  }

  /** A key for a request that changes the world, so that repeating it does no harm. */
  key() {
    this.keys += 1;
    return `${this.keyStem}-${this.keys}`;
  }

  /** Asks; resolves with the reply's body. `onPiece` hears `speech` and `progress` on the way. */
  request(t, d = {}, onPiece = null) {
    if (!this.ready) {
      return Promise.reject(new RequestError({ code: "not_connected", message: "not connected" }));
    }
    return this.ask(t, d, onPiece);
  }

  ask(t, d, onPiece = null) {
    if (this.pending.size >= MAX_PENDING) {
      return Promise.reject(new RequestError({ code: "too_many", message: "too much under way" }));
    }
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      const entry = { t, d, onPiece, resolve, reject, heard: "" };
      this.pending.set(id, entry);
      this.setLimit(id, entry);
      this.send({ t, id, d });
    });
  }

  setLimit(id, entry) {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      this.pending.delete(id);
      entry.reject(new RequestError({ code: "timed_out", message: "no answer in time" }));
    }, REQUEST_MS);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(encode(message));
  }

  async greet() {
    const hello = { client: "dashboard", sdk: SDK, features: [] };
    if (this.token) hello.token = this.token;
    this.welcome = await this.ask("hello", hello);
    let resumed = false;
    if (this.resumeToken) {
      try {
        await this.ask("resume", { token: this.resumeToken, last_seq: this.lastSeq });
        resumed = true;
      } catch (error) {
        if (error.code !== "resume_failed") throw error;
      }
    }
    if (!resumed) {
      this.resumeToken = this.welcome.resume_token;
      this.lastSeq = 0;
    }
    this.acked = this.lastSeq;
    this.ready = true;
    this.backoff = FIRST_BACKOFF_MS;
    this.ticker = setInterval(() => this.keepAlive(), ACK_MS);
    this.on.open(this.welcome, resumed);
    for (const entry of this.unanswered.splice(0)) this.again(entry, resumed);
  }

  /** Repeats what was under way when the line broke; its key makes that safe. */
  again(entry, resumed) {
    if (!resumed) {
      entry.reject(new RequestError({ code: "disconnected", message: "the session was lost" }));
      return;
    }
    const id = this.nextId++;
    this.pending.set(id, entry);
    this.setLimit(id, entry);
    this.send({ t: entry.t, id, d: entry.d });
  }

  take(data) {
    this.heard = performance.now();
    try {
      const message = decode(data);
      if (message.seq !== undefined) {
        if (message.seq <= this.lastSeq) return;
        this.lastSeq = message.seq;
      }
      if (message.re !== undefined) this.settle(message);
      else if (message.t === "heartbeat") this.acknowledge();
      else if (message.t === "goodbye") this.goodbye = message.d.reason;
      else this.on.push(message);
    } catch (error) {
      console.warn("greenroom:", error);
      this.lose(error.message);
    }
  }

  settle({ t, re, d }) {
    const entry = this.pending.get(re);
    if (!entry) return;
    if (t === "speech" || t === "progress") {
      this.setLimit(re, entry);
      if (t === "progress") entry.onPiece?.(d);
      else this.piece(entry, d);
      return;
    }
    this.pending.delete(re);
    clearTimeout(entry.timer);
    if (t === "error") entry.reject(new RequestError(d));
    else entry.resolve(d);
  }

  piece(entry, { n, text }) {
    // Asked again after a cut, the server begins with all that was said so far.
    const fresh = n === 0 && text.startsWith(entry.heard) ? text.slice(entry.heard.length) : text;
    if (!fresh) return;
    entry.heard += fresh;
    entry.onPiece?.(fresh);
  }

  keepAlive() {
    if (this.lastSeq > this.acked) this.acknowledge();
    if (performance.now() - this.heard > 3000 * this.welcome.heartbeat_s) {
      this.lose("the server fell silent");
    }
  }

  /** Also the sign of life that answers a heartbeat. */
  acknowledge() {
    if (!this.ready) return;
    this.acked = this.lastSeq;
    this.send({ t: "ack", d: { seq: this.lastSeq } });
  }

  lose(reason) {
    this.goodbye = reason;
    const socket = this.socket;
    socket.close();
    // The browser may take its time over a dead line; we don't.
    this.closed(socket, 1006, reason);
  }

  closed(socket, code, reason) {
    if (socket !== this.socket) return;
    this.socket = { readyState: WebSocket.CLOSED, close() {} };
    this.ready = false;
    clearInterval(this.ticker);
    const why = reason || this.goodbye || "no connection";
    this.goodbye = "";
    const final = this.stopped || FINAL_CODES.includes(code);
    this.setAside(final, why);
    if (!final) {
      setTimeout(() => this.stopped || this.start(), this.backoff * (0.75 + Math.random() / 2));
      this.backoff = Math.min(this.backoff * 2, LAST_BACKOFF_MS);
    }
    this.on.close(why, !final, code);
  }

  /** Keeps what may be repeated on the next connection, gives up the rest. */
  setAside(final, message) {
    const open = [...this.unanswered.splice(0), ...this.pending.values()];
    this.pending.clear();
    for (const entry of open) {
      clearTimeout(entry.timer);
      if (!final && entry.d.key && this.unanswered.length < MAX_PENDING) this.unanswered.push(entry);
      else entry.reject(new RequestError({ code: "disconnected", message }));
    }
  }
}
