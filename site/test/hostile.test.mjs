// What somebody could give the Verify page to harm it or who looks at it.

import assert from "node:assert/strict";
import { mkdtemp, open as openFile, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";
import { close, dist, open, root, serve } from "./browser.mjs";
import { tarHeader } from "./tar.mjs";

after(close);

const histories = join(root, "testdata", "histories");

async function visit(t) {
  const server = await serve(t, { "/": `${dist}/site` });
  return open(t, server.url);
}

async function verdict(page) {
  await page.waitForSelector("#verdict");
  return page.textContent("#verdict");
}

test("a run can be stopped", async (t) => {
  const page = await visit(t);
  // One checkpoint, many times over, each with another state: as many signatures to check.
  const checkpoint = await readFile(join(histories, "heartbeat-01", "0000000004.ckpt"));
  const files = {};
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.from(checkpoint);
    bytes.writeUInt32LE(i, 209);
    files[`${i}.ckpt`] = bytes;
  }
  await page.setInputFiles("#files", { name: "many.zip", mimeType: "", buffer: Buffer.from(zipSync(files, { level: 0 })) });
  await page.waitForSelector("#stop", { state: "visible" });
  await page.waitForFunction(() => /[1-9]/.test(document.getElementById("busy-count").textContent));
  await page.click("#stop");
  await page.waitForSelector("#idle:not([hidden])");
  assert.match(await page.textContent("#live"), /Stopped/);
  await page.click('[data-sample="whole.car"]');
  assert.equal(await verdict(page), "Unbroken");
});

test("hostile files give no verdict, and the page goes on", async (t) => {
  const page = await visit(t);
  const dir = await mkdtemp(join(tmpdir(), "igor-hostile-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const whole = await readFile(join(root, dist, "site", "samples", "whole.car"));
  const changed = Buffer.from(whole);
  changed[300] ^= 1;
  const zeros = new Uint8Array(80 << 20);
  const large = join(dir, "large.ckpt");
  const file = await openFile(large, "w");
  await file.truncate(2 ** 30);
  await file.close();
  await writeFile(join(dir, "large.car"), Buffer.concat([whole.subarray(0, 59), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])]));
  const sparse = await openFile(join(dir, "gigabyte.car"), "w");
  await sparse.truncate(2 ** 30);
  await sparse.close();
  const cases = {
    "cut.car": [whole.subarray(0, -1), /cut/],
    "changed.car": [changed, /was changed/],
    "empty.car": [Buffer.alloc(0), /empty/],
    "bomb.zip": [zipSync({ "bomb.ckpt": zeros }), /at most 64 MiB/],
    "bomb.tar.gz": [bomb(), /more than 1 GiB/],
    "cut.zip": [Buffer.from(zipSync({ "a.ckpt": changed })).subarray(0, 200), /cut/],
    "text.zip": [Buffer.from("hello"), /no zip archive/],
    "text.tar": [Buffer.from("hello".repeat(300)), /not a tar archive/],
    "nothing.zip": [zipSync({ "a.txt": strToU8("a") }), /no \.ckpt file/i],
    "large.ckpt": [large, /at most 64 MiB/],
    "large.car": [join(dir, "large.car"), /over the limit/],
    "gigabyte.car": [join(dir, "gigabyte.car"), /malformed CAR/i],
  };
  for (const [name, [content, expected]] of Object.entries(cases)) {
    await page.setInputFiles("#files", typeof content === "string" ? content : { name, mimeType: "", buffer: Buffer.from(content) });
    await page.waitForSelector("#verdict", { timeout: 120_000 });
    assert.equal(await page.textContent("#verdict"), "No verdict", name);
    assert.match(await page.textContent(".verdict"), expected, name);
    await page.click("text=Verify another");
  }
  await page.click('[data-sample="whole.car"]');
  assert.equal(await verdict(page), "Unbroken");
});

test("names and states of a history are never read as HTML", async (t) => {
  const page = await visit(t);
  const bytes = await readFile(join(histories, "heartbeat-01", "0000000004.ckpt"));
  bytes.write("<img src=x onerror=alert(1)>", 209);
  const name = "<img src=x onerror=alert(1)>.ckpt";
  await page.setInputFiles("#files", { name, mimeType: "", buffer: bytes });
  assert.equal(await verdict(page), "Invalid");
  await page.waitForSelector(".which .title p");
  assert.equal(await page.locator("main img").count(), 0);
  assert.match(await page.textContent(".problem"), /<img src=x onerror=alert\(1\)>\.ckpt/);
});

/** A gzip stream, of members, that unpacks to a tar of over 1 GiB that has no checkpoint. */
function bomb() {
  const member = gzipSync(Buffer.alloc(64 << 20), { level: 9 });
  return Buffer.concat([gzipSync(tarHeader("zeros", 17 * (64 << 20))), ...Array.from({ length: 17 }, () => member)]);
}
