// Makes testdata/archive/vectors.json with arbundles and Node's own cryptography, without
// the code that it tests: statements that are signed, and data items, good and hostile.
import { createRequire } from "node:module";
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { writeFileSync } from "node:fs";

const { createData } = createRequire(import.meta.url)("arbundles");

const seed = (first) => Buffer.from(Array.from({ length: 32 }, (_, i) => first + i));
const keyOf = (s) => createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), s]), format: "der", type: "pkcs8" });
const publicOf = (k) => createPublicKey(k).export({ format: "der", type: "spki" }).subarray(-32);
const sha = (...b) => createHash("sha256").update(Buffer.concat(b)).digest();
const u64 = (n) => {
	const b = Buffer.alloc(8);
	b.writeBigUInt64LE(BigInt(n));
	return b;
};

const agent = keyOf(seed(0));
const archive = keyOf(seed(0x20));
const signed = (key, message) => Buffer.concat([message, sign(null, message, key)]);

const binding = signed(agent, Buffer.concat([Buffer.from("igor/archive-key/v1\0"), publicOf(agent), publicOf(archive)]));
const head = Buffer.from("ceea2bdec55d6ffb1c7c87a67a84c79795e68eebcee62812953632f31dde4067", "hex");
const none = Buffer.alloc(32);
const names = ["wasm", "manifest", "journal", null, null, null, null, null].map((s) => (s ? sha(Buffer.from(s)) : none));
const statementOf = (h, parts) => Buffer.concat([Buffer.from("igor/parts/v1\0"), publicOf(agent), u64(0), u64(9), h, ...parts]);
const statement = signed(agent, statementOf(head, names));

class Signer {
	signatureType = 2;
	signatureLength = 64;
	ownerLength = 32;
	constructor(key) {
		this.key = key;
		this.publicKey = publicOf(key);
	}
	sign(message) {
		return sign(null, message, this.key);
	}
}

async function item(tags, data, more = {}) {
	const signer = new Signer(archive);
	const i = createData(data, signer, { tags, ...more });
	await i.sign(signer);
	return { raw: Buffer.from(i.getRaw()), id: i.id };
}

const items = [];
const add = (name, hex, id, why) => items.push(why ? { name, item: hex.toString("hex"), why } : { name, item: hex.toString("hex"), id });
const good = await item([{ name: "App-Name", value: "Igor" }, { name: "DID", value: "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd" }], Buffer.from("data"));
add("two tags", good.raw, good.id);
const plain = await item([], Buffer.alloc(0));
add("nothing", plain.raw, plain.id);
const whole = await item([{ name: "é", value: "☃" }], Buffer.from([0, 255]), { target: Buffer.alloc(32, 1).toString("base64url"), anchor: "a".repeat(32) });
add("target and anchor", whole.raw, whole.id);
const many = await item(Array.from({ length: 100 }, (_, i) => ({ name: `n${i}`, value: `v${i}` })), Buffer.from("x"));
add("a hundred tags", many.raw, many.id);

const spoil = (from, at, bytes) => {
	const b = Buffer.from(from.raw);
	Buffer.from(bytes).copy(b, at);
	return b;
};
const tagsAt = 2 + 64 + 32 + 1 + 1;
add("empty", Buffer.alloc(0), "", "cut short");
add("cut in the header", good.raw.subarray(0, 60), "", "cut short");
add("cut in the tags", good.raw.subarray(0, tagsAt + 16 + 10), "", "cut short");
add("another signature", spoil(good, 5, [good.raw[5] ^ 1]), "", "signature");
add("another owner", spoil(good, 2 + 64, publicOf(agent)), "", "signature");
add("other data", spoil(good, good.raw.length - 1, [65]), "", "signature");
add("signature type 1, RSA", spoil(good, 0, [1, 0]), "", "signature type 1");
add("signature type 3", spoil(good, 0, [3, 0]), "", "signature type 3");
add("a flag of 2", spoil(good, 2 + 64 + 32, [2]), "", "flag");
add("more tags than there are", spoil(good, tagsAt, u64(3)), "", "as many tags");
add("fewer tags than there are", spoil(good, tagsAt, u64(1)), "", "as many tags");
add("2^64-1 tags", spoil(good, tagsAt, Buffer.alloc(8, 255)), "", "too many tags");
add("129 tags", spoil(good, tagsAt, u64(129)), "", "too many tags");
add("2^64-1 bytes of tags", spoil(good, tagsAt + 8, Buffer.alloc(8, 255)), "", "too many tags");
add("Avro without an end", spoil(good, tagsAt + 8, u64(Number(good.raw.readBigUInt64LE(tagsAt + 8)) - 1)), "", "Avro");
add("Avro of 2^62 tags", spoil(good, tagsAt + 16, [254, 255, 255, 255, 255, 255, 255, 255, 127]), "", "over 128 tags");
add("Avro of -2^63 tags", spoil(good, tagsAt + 16, [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), "", "over 128 tags");
add("Avro with a long of 11 bytes", spoil(good, tagsAt + 16, Buffer.alloc(11, 255)), "", "Avro");
add("a name longer than the item", spoil(good, tagsAt + 17, [254, 15]), "", "Avro");

const statements = [];
const state = (name, b, kind, why) => statements.push({ name, kind, bytes: b.toString("hex"), ...(why ? { why } : {}) });
state("a statement of parts", statement, "parts");
state("no parts at all", signed(agent, statementOf(head, Array(8).fill(none))), "parts");
state("by another key", signed(archive, statementOf(head, names)), "parts", "signature");
state("names no checkpoint", signed(agent, statementOf(none, names)), "parts", "names no checkpoint");
state("cut", statement.subarray(0, 413), "parts", "not a statement");
state("longer", Buffer.concat([statement, Buffer.from([0])]), "parts", "not a statement");
state("version 2", signed(agent, Buffer.concat([Buffer.from("igor/parts/v2\0"), statement.subarray(14, 350)])), "parts", "not a statement");
state("a binding", binding, "binding");
state("a binding by the archive key", signed(archive, binding.subarray(0, 84)), "binding", "signature");
state("a binding that is cut", binding.subarray(0, 147), "binding", "not a statement");
state("a statement of parts as a binding", statement, "binding", "not a statement");
// The key of order 1, for which anybody can sign.
const weak = Buffer.concat([Buffer.from([1]), Buffer.alloc(31)]);
const forWeak = Buffer.concat([Buffer.from("igor/archive-key/v1\0"), weak, publicOf(archive)]);
state("a binding by a weak key", Buffer.concat([forWeak, weak, Buffer.alloc(32)]), "binding", "signature");

writeFileSync(new URL("../../../testdata/archive/vectors.json", import.meta.url), JSON.stringify({ items, statements }, null, "\t") + "\n");
console.log(JSON.stringify({ binding: binding.toString("hex"), statement: statement.toString("hex"), item: good.raw.toString("hex"), id: good.id }));
