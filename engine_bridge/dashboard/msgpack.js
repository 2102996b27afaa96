// MessagePack for the Greenroom wire: everything but extension types, with bounds on size and depth.
//
// nil, boolean, number, string, Uint8Array (bin), array and plain object (map with text keys).
// Refused, never bent: integers beyond 2^53, NaN and infinities, text that is not UTF-8, a key
// twice in one map, extension types, anything after the value.

export const MAX_DEPTH = 16;
export const MAX_BYTES = 8 << 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A frame or value that the protocol forbids. */
export class MsgpackError extends Error {}

/** The bytes of `value`, each part in its shortest form. Throws MsgpackError. */
export function encode(value, { maxDepth = MAX_DEPTH, maxBytes = MAX_BYTES } = {}) {
  const writer = new Writer(maxDepth, maxBytes);
  writer.put(value, 0);
  return writer.bytes.slice(0, writer.length);
}

/** The one value that `bytes` (Uint8Array or ArrayBuffer) hold. Throws MsgpackError. */
export function decode(bytes, { maxDepth = MAX_DEPTH, maxBytes = MAX_BYTES } = {}) {
  const frame = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
  if (frame.length > maxBytes) {
    throw new MsgpackError(`the message has ${frame.length} bytes, the limit is ${maxBytes}`);
  }
  const reader = new Reader(frame, maxDepth);
  const value = reader.get(0);
  if (reader.at < frame.length) {
    throw new MsgpackError(`${frame.length - reader.at} bytes follow the message`);
  }
  return value;
}

class Writer {
  constructor(maxDepth, maxBytes) {
    this.maxDepth = maxDepth;
    this.maxBytes = maxBytes;
    this.bytes = new Uint8Array(256);
    this.view = new DataView(this.bytes.buffer);
    this.length = 0;
  }

  /** Makes room for `count` bytes and returns where they begin. */
  room(count) {
    const at = this.length;
    this.length += count;
    if (this.length > this.maxBytes) {
      throw new MsgpackError(`the message has over ${this.maxBytes} bytes`);
    }
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    return at;
  }

  put(value, depth) {
    if (value === null || value === undefined) this.byte(0xc0);
    else if (typeof value === "boolean") this.byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.number(value);
    else if (typeof value === "string") this.text(value);
    else if (value instanceof Uint8Array) this.bin(value);
    else if (Array.isArray(value)) this.array(value, depth + 1);
    else if (isPlain(value)) this.map(value, depth + 1);
    else throw new MsgpackError(`a ${typeof value} can't be sent`);
  }

  byte(value) {
    const at = this.room(1);
    this.bytes[at] = value;
  }

  /** A type byte with an unsigned number of 1, 2 or 4 bytes after it. */
  head(type, number, width) {
    const at = this.room(1 + width);
    this.bytes[at] = type;
    if (width === 1) this.bytes[at + 1] = number;
    else if (width === 2) this.view.setUint16(at + 1, number);
    else this.view.setUint32(at + 1, number);
  }

  number(value) {
    // A whole number that JavaScript can't hold exactly goes out as what it is: a float.
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      if (!Number.isFinite(value)) throw new MsgpackError("NaN and infinities can't be sent");
      const at = this.room(9);
      this.bytes[at] = 0xcb;
      this.view.setFloat64(at + 1, value);
    } else if (value >= 0) {
      if (value < 0x80) this.byte(value);
      else if (value <= 0xff) this.head(0xcc, value, 1);
      else if (value <= 0xffff) this.head(0xcd, value, 2);
      else if (value <= 0xffffffff) this.head(0xce, value, 4);
      else {
        const at = this.room(9);
        this.bytes[at] = 0xcf;
        this.view.setBigUint64(at + 1, BigInt(value));
      }
    } else if (value >= -0x20) this.byte(value & 0xff);
    else if (value >= -0x80) this.head(0xd0, value & 0xff, 1);
    else if (value >= -0x8000) this.head(0xd1, value & 0xffff, 2);
    else if (value >= -0x80000000) this.head(0xd2, value >>> 0, 4);
    else {
      const at = this.room(9);
      this.bytes[at] = 0xd3;
      this.view.setBigInt64(at + 1, BigInt(value));
    }
  }

  text(value) {
    const bytes = encoder.encode(value);
    const length = bytes.length;
    if (length < 32) this.byte(0xa0 | length);
    else if (length <= 0xff) this.head(0xd9, length, 1);
    else if (length <= 0xffff) this.head(0xda, length, 2);
    else this.head(0xdb, length, 4);
    // Room first: making it may put larger bytes in the place of these.
    const at = this.room(length);
    this.bytes.set(bytes, at);
  }

  bin(bytes) {
    const length = bytes.length;
    if (length <= 0xff) this.head(0xc4, length, 1);
    else if (length <= 0xffff) this.head(0xc5, length, 2);
    else this.head(0xc6, length, 4);
    const at = this.room(length);
    this.bytes.set(bytes, at);
  }

  array(values, depth) {
    this.enter(depth);
    const count = values.length;
    if (count < 16) this.byte(0x90 | count);
    else if (count <= 0xffff) this.head(0xdc, count, 2);
    else this.head(0xdd, count, 4);
    for (const value of values) this.put(value, depth);
  }

  map(object, depth) {
    this.enter(depth);
    const entries = Object.entries(object).filter(([, value]) => value !== undefined);
    if (entries.length < 16) this.byte(0x80 | entries.length);
    else if (entries.length <= 0xffff) this.head(0xde, entries.length, 2);
    else this.head(0xdf, entries.length, 4);
    for (const [key, value] of entries) {
      this.text(key);
      this.put(value, depth);
    }
  }

  enter(depth) {
    if (depth > this.maxDepth) throw new MsgpackError(`nested deeper than ${this.maxDepth}`);
  }
}

function isPlain(value) {
  if (typeof value !== "object") return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

class Reader {
  constructor(bytes, maxDepth) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.maxDepth = maxDepth;
    this.at = 0;
  }

  /** Steps over `count` bytes and returns where they began. */
  take(count) {
    const at = this.at;
    if (this.bytes.length - at < count) {
      throw new MsgpackError("the message ends in the middle of a value");
    }
    this.at += count;
    return at;
  }

  get(depth) {
    const type = this.bytes[this.take(1)];
    if (type < 0x80) return type;
    if (type < 0x90) return this.map(type & 0x0f, depth + 1);
    if (type < 0xa0) return this.array(type & 0x0f, depth + 1);
    if (type < 0xc0) return this.text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.bin(this.size(1 << (type - 0xc4)));
      case 0xca: return finite(this.view.getFloat32(this.take(4)));
      case 0xcb: return finite(this.view.getFloat64(this.take(8)));
      case 0xcc: case 0xcd: case 0xce: return this.size(1 << (type - 0xcc));
      case 0xcf: return safe(this.view.getBigUint64(this.take(8)));
      case 0xd0: return this.view.getInt8(this.take(1));
      case 0xd1: return this.view.getInt16(this.take(2));
      case 0xd2: return this.view.getInt32(this.take(4));
      case 0xd3: return safe(this.view.getBigInt64(this.take(8)));
      case 0xd9: case 0xda: case 0xdb: return this.text(this.size(1 << (type - 0xd9)));
      case 0xdc: case 0xdd: return this.array(this.size(2 << (type - 0xdc)), depth + 1);
      case 0xde: case 0xdf: return this.map(this.size(2 << (type - 0xde)), depth + 1);
      case 0xc1: throw new MsgpackError("type byte 0xc1 is never used");
      default: throw new MsgpackError("extension types are not part of the protocol");
    }
  }

  size(width) {
    const at = this.take(width);
    if (width === 1) return this.view.getUint8(at);
    return width === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  text(length) {
    const at = this.take(length);
    try {
      return decoder.decode(this.bytes.subarray(at, at + length));
    } catch {
      throw new MsgpackError("a text is not UTF-8");
    }
  }

  bin(length) {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  array(count, depth) {
    this.enter(depth, count);
    const values = [];
    for (let index = 0; index < count; index++) values.push(this.get(depth));
    return values;
  }

  map(count, depth) {
    this.enter(depth, 2 * count);
    // No prototype: a key called "__proto__" is a key like any other.
    const map = Object.create(null);
    for (let index = 0; index < count; index++) {
      const key = this.get(depth);
      if (typeof key !== "string") throw new MsgpackError("the keys of a map are texts");
      if (key in map) throw new MsgpackError(`the key ${key} comes twice in one map`);
      map[key] = this.get(depth);
    }
    return map;
  }

  /** Each element takes a byte at least, so a false count is found before anything is made. */
  enter(depth, least) {
    if (depth > this.maxDepth) throw new MsgpackError(`nested deeper than ${this.maxDepth}`);
    if (this.bytes.length - this.at < least) {
      throw new MsgpackError("the message ends in the middle of a value");
    }
  }
}

function finite(value) {
  if (!Number.isFinite(value)) {
    throw new MsgpackError("NaN and infinities are not part of the protocol");
  }
  return value;
}

function safe(value) {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new MsgpackError("an integer beyond 2^53 does not fit");
  }
  return number;
}
