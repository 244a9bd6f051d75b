// What lies beside a history, hand-overs, proofs and successions, is looked at in Node as
// igor-verify looks at it: the same report, byte for byte, wherever it lies.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { dist, root } from "./browser.mjs";
import { car } from "./life.mjs";

const run = promisify(execFile);
let dir;
let command;
let api;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "beside-"));
  command = join(dir, "igor-verify");
  await run("go", ["build", "-o", command, "./cmd/igor-verify"], { cwd: root });
  api = await import(pathToFileURL(join(root, dist, "npm/node.js")).href);
});
after(() => rm(dir, { recursive: true, force: true }));

/** All vectors of hand-overs, witnesses and successions. */
async function vectors() {
  const all = [];
  for (const folder of ["handovers", "witness"]) {
    for (const name of (await readdir(join(root, "testdata", folder))).filter((name) => /\.json$/.test(name) && !name.startsWith("fork-"))) {
      const vector = JSON.parse(await readFile(join(root, "testdata", folder, name), "utf8"));
      all.push({ name, ...vector });
    }
  }
  return all;
}

const hex = (text) => Buffer.from(text, "hex");

/** The files that lie beside a vector's history: what they are called in its folder, and their bytes. */
function beside({ handovers, proof, word, succession, commitment }) {
  const files = { handovers: handovers && hex(handovers), "head.tlog-proof": proof, "head.monitor": word, succession: succession && hex(succession), "successor.tlog-proof": commitment };
  return Object.entries(files).filter(([, content]) => content);
}

/** What igor-verify writes, for flags and paths. */
async function verdict(...args) {
  const { stdout } = await run(command, ["--format", "json", ...args], { maxBuffer: 1 << 26 }).catch((error) => error);
  return stdout;
}

let number = 0;

/** Verifies in both ways: paths, and the same as inputs of the package. */
async function same(what, { policy, monitor, require, did }, paths, input = paths) {
  const flags = did ? ["--did", did] : [];
  let rules = "";
  if (policy) {
    rules = join(dir, `policy-${++number}`);
    await writeFile(rules, policy);
    flags.push(require ? "--require-witness" : "--witness", rules, ...(monitor ? ["--monitor", monitor] : []));
  }
  const want = await verdict(...flags, ...paths);
  const options = { ...(did && { did }), ...(policy && { witness: { policy, ...(monitor && { monitor }), ...(require && { require }) } }) };
  assert.notEqual(want, "", what);
  const report = await api.verifyHistory(input, options);
  // What was built from which commit is not the same while nothing is committed.
  const besidesVersion = (text) => text.replace(/"verifier": ".*"/, "");
  assert.equal(besidesVersion(api.reportJSON(report)), besidesVersion(want), what);
  return report;
}

test("one input, one report: in a folder, beside a CAR, and given by itself", async () => {
  const all = await vectors();
  assert.ok(all.length > 80, `${all.length} vectors`);
  const seen = { handovers: 0, witnessed: 0, succeeds: 0, leftOut: 0 };
  for (const [i, vector] of all.entries()) {
    if (i % 3 && !/good|three|committed|conflict|cut|twice|order/.test(vector.name) && !process.env.ALL) continue;
    const folder = join(dir, `life-${i}`);
    await mkdir(folder);
    const checkpoints = vector.checkpoints.map(hex);
    for (const [j, bytes] of checkpoints.entries()) await writeFile(join(folder, `${j}.ckpt`), bytes);
    const files = beside(vector);
    for (const [name, content] of files) await writeFile(join(folder, name), content);
    const { did } = vector;
    const terms = { policy: vector.policy, monitor: vector.monitor, require: vector.require, ...(typeof did === "string" && did && { did }) };
    const report = await same(`${vector.name}, a folder`, terms, [folder]);
    seen.handovers += report.handovers?.length ? 1 : 0;
    seen.witnessed += report.witnessed && !report.witnessed.problem ? 1 : 0;
    seen.succeeds += report.succeeds && !report.succeeds.problem ? 1 : 0;
    seen.leftOut += report.notLookedAt ? 1 : 0;
    await same(`${vector.name}, a folder without a policy`, { did: terms.did }, [folder]);

    const exported = join(dir, `cars-${i}`);
    await mkdir(exported);
    if (checkpoints.length === 0) continue;
    await writeFile(join(exported, "life.car"), car(checkpoints));
    const besideCAR = (name) => join(exported, `life.${name.replace(/^head\./, "")}`);
    for (const [name, content] of files) await writeFile(besideCAR(name), content);
    await same(`${vector.name}, a CAR`, terms, [join(exported, "life.car")]);
    await same(`${vector.name}, all by themselves`, terms, [join(exported, "life.car"), ...files.map(([name]) => besideCAR(name))]);
    // Bytes under names, as a browser gives what was dropped.
    const dropped = [{ name: "life.car", bytes: car(checkpoints) }, ...files.map(([name, content]) => ({ name, bytes: Buffer.from(content) }))];
    const away = join(dir, `away-${i}`);
    await mkdir(away);
    const moved = await Promise.all(files.map(async ([name, content]) => (await writeFile(join(away, name), content), join(away, name))));
    await same(`${vector.name}, dropped`, terms, [join(exported, "life.car"), ...moved], dropped);
  }
  for (const [what, n] of Object.entries(seen)) assert.ok(n >= 2, `${what}: ${n}`);
});

test("bytes that are none of what their name says", async () => {
  const { checkpoints, policy, proof } = JSON.parse(await readFile(join(root, "testdata/witness/head-good.json"), "utf8"));
  const folder = join(dir, "agent");
  const lives = join(folder, "history");
  await mkdir(lives, { recursive: true });
  for (const [j, text] of checkpoints.entries()) await writeFile(join(lives, `${j}.ckpt`), hex(text));
  const names = ["handovers", "head.tlog-proof", "head.monitor", "succession", "successor.tlog-proof"];
  const monitor = "monitor.example+f03e19b0+AfnzfkG2GyKhz8s1TH/Iec7CmTSntd/jJySLxL3AkvLF";
  const contents = [Buffer.alloc(0), Buffer.from("hello"), Buffer.alloc((256 << 10) + 1, 0x41), Buffer.from(proof), hex(checkpoints[0]), Buffer.from([4]), Buffer.from("<html>"), Buffer.from("igor/handover/v1\0")];
  for (const name of names) {
    for (const [i, content] of contents.entries()) {
      await writeFile(join(folder, name), content);
      for (const terms of [{}, { policy }, { policy, monitor, require: true }]) {
        await same(`${name} ${i}, ${Object.keys(terms)}`, terms, [folder]);
        if (i === 3) await same(`${name} ${i}, ${Object.keys(terms)}, history`, terms, [lives]);
      }
    }
    await rm(join(folder, name));
    await mkdir(join(folder, name)); // a folder
    await same(`${name}, a folder`, { policy }, [folder]);
    await rm(join(folder, name), { recursive: true });
  }
  const [first, second] = [join(dir, "first.tlog-proof"), join(dir, "second.tlog-proof")];
  await writeFile(first, proof);
  await writeFile(second, proof.replace("index ", "index 1"));
  assert.equal((await same("two proofs", { policy, require: true }, [lives, first, second])).verdict, "verified");
  assert.equal((await same("two proofs, the wrong one first", { policy, require: true }, [lives, second, first])).verdict, "incomplete");
  await assert.rejects(api.verifyHistory([first]), { code: "nothing-to-verify" });
});
