// Runs arlocal, and before it what archives need and it does not have: a bundler, which puts
// each item into a bundle of its own, in a transaction that a wallet pays, and a gateway's
// /raw with Range. Prints its address.
//
//	node arlocal.mjs FOLDER
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Module, { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);

// arlocal keeps its tables in SQLite. Its package for that has to be compiled for minutes;
// this one is compiled already, to WebAssembly.
const { Database: Memory } = await require("sql.js")();
class Database {
	constructor(_name, _mode, done) {
		this.db = new Memory();
		setImmediate(done, null);
	}
	run(sql, values, done) {
		this.answer(done, () => this.db.run(sql, values));
	}
	all(sql, values, done) {
		this.answer(done, () => {
			const rows = [];
			const statement = this.db.prepare(sql, values);
			while (statement.step()) {
				rows.push(statement.getAsObject());
			}
			statement.free();
			return rows;
		});
	}
	// An answer comes later, as from the other package: arlocal waits in loops for what others
	// put there meanwhile.
	answer(done, ask) {
		try {
			const rows = ask();
			setImmediate(() => done.call({ changes: this.db.getRowsModified(), lastID: 0 }, null, rows));
		} catch (err) {
			setImmediate(done, err);
		}
	}
	close(done) {
		this.db.close();
		setImmediate(done, null);
	}
}
const load = Module._load;
Module._load = (name, ...more) => (name === "sqlite3" ? { Database } : load(name, ...more));

const { default: ArLocal } = require("arlocal");
const { bundleAndSignData, DataItem } = require("arbundles");
const Arweave = require("arweave");

console.log = () => {};
process.chdir(process.argv[2]); // it writes a log where it is
const chain = new ArLocal(0, false, join(process.argv[2], "db"));
chain.port = 0;
await chain.start();
const { port } = chain.getServer().address();
const arweave = (Arweave.default ?? Arweave).init({ host: "127.0.0.1", port, protocol: "http" });
const at = `http://127.0.0.1:${port}`;
const wallet = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
await fetch(`${at}/mint/${await arweave.wallets.jwkToAddress(wallet)}/1000000000000000`);

const transactions = new Map(); // by the item that is in it

// upload puts an item into a bundle, and that into the chain: one after the other, because
// arlocal mixes up chunks that come at once.
let before = Promise.resolve();
function upload(raw) {
	const mine = before.then(() => send(raw));
	before = mine.catch(() => {});
	return mine;
}
async function send(raw) {
	if (!(await DataItem.verify(raw))) {
		return [400, { error: "not an item" }];
	}
	const item = new DataItem(raw);
	await item.setSignature(item.rawSignature); // or it would be signed again
	if (!transactions.has(item.id)) {
		const bundle = await bundleAndSignData([item], null);
		const tx = await bundle.toTransaction({}, arweave, wallet);
		await arweave.transactions.sign(tx, wallet);
		const uploader = await arweave.transactions.getUploader(tx);
		while (!uploader.isComplete) {
			await uploader.uploadChunk();
		}
		transactions.set(item.id, tx.id);
	}
	return [200, { id: item.id, winc: "0" }];
}

// status says how deep in the chain an item is, and each question makes it nine blocks deeper.
async function status(id) {
	const tx = transactions.get(id);
	if (tx === undefined) {
		return [404, { error: "not here" }];
	}
	await fetch(`${at}/mine/9`);
	const { number_of_confirmations: n } = await (await fetch(`${at}/tx/${tx}/status`)).json();
	return [200, { status: n >= 18 ? "FINALIZED" : "CONFIRMED", bundleId: tx }];
}

async function body(r) {
	const all = [];
	for await (const b of r) {
		all.push(b);
	}
	return Buffer.concat(all);
}

const front = createServer(async (r, w) => {
	const json = ([code, value]) => w.writeHead(code, { "Content-Type": "application/json" }).end(JSON.stringify(value));
	try {
		const [, first, second, third, fourth] = r.url.split("/");
		if (first === "v1" && second === "info") {
			json([200, { gateway: `http://${r.headers.host}`, freeUploadLimitBytes: 1 << 30 }]);
		} else if (first === "v1" && second === "tx" && r.method === "POST") {
			json(await upload(await body(r)));
		} else if (first === "v1" && second === "tx" && fourth === "status") {
			json(await status(third));
		} else if (first === "raw") {
			const answer = await fetch(`${at}/${second}`);
			const data = Buffer.from(await answer.arrayBuffer());
			const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(r.headers.range ?? "") ?? [];
			if (!answer.ok || from === undefined) {
				w.writeHead(answer.status).end(data);
			} else if (Number(from) >= data.length) {
				w.writeHead(416).end();
			} else {
				const part = data.subarray(Number(from), Number(to) + 1);
				w.writeHead(206, { "Content-Range": `bytes ${from}-${Number(from) + part.length - 1}/${data.length}` }).end(part);
			}
		} else if (first === "graphql") {
			const answer = await fetch(`${at}/graphql`, { method: r.method, headers: { "Content-Type": "application/json" }, body: await body(r) });
			w.writeHead(answer.status, { "Content-Type": "application/json" }).end(await answer.text());
		} else {
			json([404, { error: "there is nothing here" }]);
		}
	} catch (err) {
		console.error(err);
		json([500, { error: String(err) }]);
	}
});
front.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${front.address().port}\n`));
process.stdin.on("end", () => process.exit()).resume();
