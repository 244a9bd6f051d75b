// Zip archives for tests, record by record, and with whatever is wrong in them.

import { crc32, deflateRawSync } from "node:zlib";

/**
 * A zip archive.
 *
 * @param {{ name: string | Buffer, data?: Buffer, method?: number, raw?: Buffer, flags?: number, attributes?: number,
 *   made?: number, local?: object, central?: object, extra?: Buffer, localExtra?: Buffer, descriptor?: Buffer | boolean,
 *   before?: Buffer, listed?: boolean, offset?: number }[]} entries what each says; local and central change what one header says
 * @param {object} end what the last record says, and comment, before and after it
 */
export function zipOf(entries, end = {}) {
  const parts = [];
  const directory = [];
  let at = 0;
  const put = (bytes) => (parts.push(bytes), (at += bytes.length));
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const data = entry.data ?? Buffer.alloc(0);
    const method = entry.method ?? 0;
    const packed = entry.raw ?? (method === 8 ? deflateRawSync(data) : data);
    const flags = (entry.flags ?? 0) | (entry.descriptor ? 8 : 0);
    const truth = { name, method, flags, crc: crc32(data), packed: packed.length, size: data.length };
    const local = { ...truth, ...(entry.descriptor && { crc: 0, packed: 0, size: 0 }), ...entry.local };
    const central = { ...truth, ...entry.central };
    if (entry.before) put(entry.before);
    const offset = entry.offset ?? at;
    if (entry.offset === undefined) {
      const header = Buffer.alloc(30);
      header.write("PK\x03\x04", "latin1");
      fill(header, 4, local, Buffer.from(local.name).length, entry.localExtra?.length ?? 0);
      put(Buffer.concat([header, Buffer.from(local.name), entry.localExtra ?? Buffer.alloc(0)]));
      put(packed);
      if (entry.descriptor) put(entry.descriptor === true ? descriptorOf(truth) : entry.descriptor);
    }
    if (entry.listed === false) continue;
    const header = Buffer.alloc(46);
    header.write("PK\x01\x02", "latin1");
    header.writeUInt16LE(entry.made ?? 0x031e, 4);
    fill(header, 6, central, Buffer.from(central.name).length, entry.extra?.length ?? 0);
    header.writeUInt32LE(entry.attributes ?? 0x81a40000, 38);
    header.writeUInt32LE(offset, 42);
    directory.push(header, Buffer.from(central.name), entry.extra ?? Buffer.alloc(0));
  }
  if (end.before) put(end.before);
  const list = Buffer.concat(directory);
  const start = at;
  put(list);
  if (end.beforeEnd) put(end.beforeEnd({ start, size: list.length, at }));
  const count = end.count ?? entries.filter(({ listed }) => listed !== false).length;
  const comment = end.comment ?? Buffer.alloc(0);
  const record = Buffer.alloc(22);
  record.write("PK\x05\x06", "latin1");
  record.writeUInt16LE(end.countHere ?? count, 8);
  record.writeUInt16LE(count, 10);
  record.writeUInt32LE(end.size ?? list.length, 12);
  record.writeUInt32LE(end.start ?? start, 16);
  record.writeUInt16LE(comment.length, 20);
  put(Buffer.concat([record, comment, end.after ?? Buffer.alloc(0)]));
  return Buffer.concat(parts);
}

function fill(header, at, { method, flags, crc, packed, size }, nameSize, extraSize) {
  header.writeUInt16LE(20, at);
  header.writeUInt16LE(flags, at + 2);
  header.writeUInt16LE(method, at + 4);
  header.writeUInt32LE(0x5a21_0000, at + 6);
  header.writeUInt32LE(crc, at + 10);
  header.writeUInt32LE(packed, at + 14);
  header.writeUInt32LE(size, at + 18);
  header.writeUInt16LE(nameSize, at + 22);
  header.writeUInt16LE(extraSize, at + 24);
}

/** What stands behind the data where its sizes were not known before. */
export function descriptorOf({ crc, packed, size }) {
  const bytes = Buffer.alloc(16);
  bytes.write("PK\x07\x08", "latin1");
  bytes.writeUInt32LE(crc, 4);
  bytes.writeUInt32LE(packed, 8);
  bytes.writeUInt32LE(size, 12);
  return bytes;
}

/** The zip64 records, which say the same as the last record, or what is given. */
export function zip64End(saysOf = {}, locatorOf = {}) {
  return ({ start, size, at }) => {
    const record = Buffer.alloc(76);
    const says = { count: 1, size, start, ...saysOf };
    record.write("PK\x06\x06", "latin1");
    record.writeBigUInt64LE(44n, 4);
    record.writeUInt16LE(45, 12);
    record.writeUInt16LE(45, 14);
    record.writeBigUInt64LE(BigInt(says.count), 24);
    record.writeBigUInt64LE(BigInt(says.count), 32);
    record.writeBigUInt64LE(BigInt(says.size), 40);
    record.writeBigUInt64LE(BigInt(says.start), 48);
    record.write("PK\x06\x07", 56, "latin1");
    record.writeBigUInt64LE(BigInt(locatorOf.at ?? at), 64);
    record.writeUInt32LE(1, 72);
    return record;
  };
}
