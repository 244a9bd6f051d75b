// Holds the sizes of what a browser loads against sizes.json, in bytes after
// brotli. To accept new ones: UPDATE=1 node --test site/test/sizes.test.mjs

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { dist, root } from "./browser.mjs";

const folder = join(root, dist, "npm");
const record = join(root, "site/test/sizes.json");

/** The most that the badge may have before it loads the WASM. Of it, 2.5 KB read pins so that none is lost, share requests, and try again, 1 KB finds a life by its name, 0.2 KB puts aside what lies beside a history, and 0.5 KB keeps a host that answers without an end, and a page of many badges, from holding it. */
const badgeLimit = 16_200;

/** How much a size may grow over the recorded one. */
const tolerance = 1.03;

/** A script and all that it imports statically. */
async function withImports(file, seen = new Set()) {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = await readFile(join(folder, file), "utf8");
  for (const [, name] of text.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) await withImports(name, seen);
  return seen;
}

async function size(files) {
  let total = 0;
  for (const file of files) total += brotliCompressSync(await readFile(join(folder, file))).length;
  return total;
}

test("sizes after brotli", async (t) => {
  const sizes = {
    wasm: await size(["igor-verify.wasm"]),
    badge: await size(await withImports("igor-lineage.js")),
    verifyHistory: await size(await withImports("index.js")),
    worker: await size(["worker.js"]),
  };
  t.diagnostic(JSON.stringify(sizes));
  if (process.env.UPDATE) await writeFile(record, JSON.stringify(sizes, null, 2) + "\n");
  const recorded = JSON.parse(await readFile(record, "utf8"));
  assert.deepEqual(Object.keys(recorded), Object.keys(sizes));
  for (const [name, bytes] of Object.entries(sizes)) {
    assert.ok(bytes > 0, name);
    assert.ok(bytes <= recorded[name] * tolerance, `${name} has ${bytes} bytes, recorded are ${recorded[name]}`);
  }
  assert.ok(sizes.badge <= badgeLimit, `the badge has ${sizes.badge} bytes, at most ${badgeLimit} are allowed`);
});
