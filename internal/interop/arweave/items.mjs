// Holds data items against arbundles. Reads lines of JSON: {"verify": BASE64} answers what
// arbundles makes of an item; {"sign": {seed, tags, data}} has it make one.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";

const { createData, DataItem } = createRequire(import.meta.url)("arbundles");

// A signer of arbundles whose signatures are those of Node: that of arbundles itself needs
// parts which are compiled.
class Signer {
	signatureType = 2;
	signatureLength = 64;
	ownerLength = 32;

	constructor(seed) {
		const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
		this.key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
		this.publicKey = createPublicKey(this.key).export({ format: "der", type: "spki" }).subarray(-32);
	}

	sign(message) {
		return sign(null, message, this.key);
	}
}

async function answer(q) {
	if (q.verify !== undefined) {
		const raw = Buffer.from(q.verify, "base64");
		if (!(await DataItem.verify(raw))) {
			return { valid: false };
		}
		const item = new DataItem(raw);
		const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), item.rawOwner]);
		return {
			valid: verify(null, await item.getSignatureData(), createPublicKey({ key: spki, format: "der", type: "spki" }), item.rawSignature),
			id: item.id,
			owner: Buffer.from(item.rawOwner).toString("hex"),
			tags: item.tags,
			data: Buffer.from(item.rawData).toString("base64"),
			message: Buffer.from(await item.getSignatureData()).toString("hex"),
		};
	}
	const signer = new Signer(Buffer.from(q.sign.seed, "hex"));
	const { target, anchor } = q.sign;
	const item = createData(Buffer.from(q.sign.data, "base64"), signer, { tags: q.sign.tags, target, anchor });
	await item.sign(signer);
	return { item: Buffer.from(item.getRaw()).toString("base64"), id: item.id };
}

for await (const line of createInterface({ input: process.stdin })) {
	let out;
	try {
		out = await answer(JSON.parse(line));
	} catch (err) {
		out = { error: String(err) };
	}
	console.log(JSON.stringify(out));
}
