// Tar archives for tests.

/** A POSIX tar archive. */
export function tarball(files) {
  return tarOf(Object.entries(files).map(([name, data]) => ({ name, data })));
}

/**
 * A tar archive, entry by entry, and with whatever is wrong in it.
 *
 * @param {{ name: string, data?: Buffer, type?: string, pax?: Record<string, string | Buffer>, size?: number, magic?: string,
 *   prefix?: string, link?: string }[]} entries pax is what stands before the entry in a header of its own
 */
export function tarOf(entries, end = Buffer.alloc(1024)) {
  const parts = [];
  for (const { pax, ...entry } of entries) {
    if (pax) parts.push(paxHeader(pax));
    parts.push(entryOf(entry));
  }
  return Buffer.concat([...parts, end]);
}

/** A pax header, of one entry or, of the type g, of all. */
export function paxHeader(records, type = "x") {
  const lines = Object.entries(records).map(([key, value]) => {
    const line = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from("\n")]);
    let length = line.length + 1;
    while (String(length).length + line.length !== length) length = String(length).length + line.length;
    return Buffer.concat([Buffer.from(String(length)), line]);
  });
  return entryOf({ name: "PaxHeader", type, data: Buffer.concat(lines) });
}

export function entryOf({ name, data = Buffer.alloc(0), type = "0", size = data.length, ...more }) {
  return Buffer.concat([tarHeader(name, size, { type, ...more }), data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** The header of a file. */
export function tarHeader(name, size, { type = "0", magic = "ustar\x0000", prefix = "", link = "" } = {}) {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.fill(" ", 148, 156);
  header.write(type, 156, "latin1");
  header.write(link, 157);
  header.write(magic, 257, "latin1");
  header.write(prefix, 345);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}
