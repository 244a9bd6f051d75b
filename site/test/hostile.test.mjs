// What somebody could give the Verify page to harm it or who looks at it.

import assert from "node:assert/strict";
import { mkdtemp, open as openFile, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";
import { close, dist, open, root, serve } from "./browser.mjs";
import { firefox } from "./firefox.mjs";
import { checkpoints } from "./life.mjs";
import { tarHeader } from "./tar.mjs";

after(close);

const histories = join(root, "testdata", "histories");

const site = { "/": `${dist}/site` };

async function visit(t) {
  const server = await serve(t, site);
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

/** On the page: gives it files, shows all that can be shown of them, and returns what of it is not as it has to be. */
async function attack(files) {
  document.getElementById("verdict")?.remove();
  const transfer = new DataTransfer();
  for (const [name, base64] of files) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  while (!document.getElementById("verdict")) await pause(20);
  const found = new Set();
  const look = () => {
    const bad = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\u{e0000}-\u{e0fff}]|\p{M}{7}/u;
    const report = (where, text) => bad.test(text) && found.add(`${where}: ${JSON.stringify(text.slice(0, 80))}`);
    report("the title", document.title);
    for (const element of document.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) report(`${element.localName}[${name}]`, value);
      for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) report(element.localName, node.data);
      if ("value" in element && typeof element.value === "string") report(`the value of ${element.localName}`, element.value);
    }
    if (document.querySelector("main img, main script, main iframe")) found.add("HTML of a name");
    if (document.documentElement.scrollWidth > innerWidth) found.add(`wider than the window: ${document.documentElement.scrollWidth}`);
  };
  look();
  for (let more; (more = document.querySelector("button.more:not([hidden])")); ) more.click();
  for (const button of [...document.querySelectorAll(".problem .places button")].slice(0, 40)) {
    button.click();
    await pause(30);
    look();
  }
  return { found: [...found], verdict: document.getElementById("verdict").textContent, text: document.getElementById("result").innerText };
}

const hostileNames = [
  "\u202egpj", "a\u200b\u0007\u009b31m", "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "x".repeat(5000), `z${"\u0336".repeat(500)}`,
  "::error::x", "\u2066iso\u2069", "\u{e0041}tag", "$&$`$1", "${7*7}", "__proto__", "constructor", "\u0627\u0644\u0639", "\ufeff", "\"'>",
];

for (const browser of ["Chromium", "Firefox"]) {
  test(`hostile names and states in every place, in ${browser}`, async (t) => {
    const server = await serve(t, site);
    let evaluate;
    if (browser === "Firefox") evaluate = await firefox(t, `${server.url}/`);
    else {
      const page = await open(t, `${server.url}/`, { viewport: { width: 390, height: 844 } });
      evaluate = (expression) => page.evaluate(expression);
    }
    const run = (files) => evaluate(`(${attack})(${JSON.stringify(files)})`);
    const life = checkpoints(hostileNames.length, (i) => ({ state: Buffer.from(hostileNames[i]) }));
    const bad = hostileNames.map((name, i) => [`${name}.ckpt`, (i % 2 ? life[i].subarray(0, 100) : Buffer.from(life[i]).fill(1, 150, 160)).toString("base64")]);
    const piles = { "wrong checkpoints": bad, "left out": [["0.ckpt", life[0].toString("base64")], ...hostileNames.map((name) => [`${name}.txt`, btoa("text")])] };
    for (const [what, files] of Object.entries(piles)) assert.deepEqual((await run(files)).found, [], what);
    for (const name of hostileNames) {
      for (const file of [[`${name}.zip`, btoa("no zip")], [`${name}.car`, life[0].toString("base64")], [`${name}.ckpt`, life[1].toString("base64")]]) assert.deepEqual((await run([file])).found, [], JSON.stringify(file[0].slice(0, 40)));
    }
    // The largest numbers there are.
    const most = (1n << 64n) - 1n;
    const huge = checkpoints(2, (i) => ({ tick: most - 1n + BigInt(i), budget: (1n << 63n) - 1n, price: (1n << 63n) - 1n }));
    const { found, verdict, text } = await run(huge.map((bytes, i) => [`${i}.ckpt`, bytes.toString("base64")]));
    assert.deepEqual({ found, verdict }, { found: [], verdict: "Unbroken" });
    assert.match(text, /ticks 18,446,744,073,709,551,614 to 18,446,744,073,709,551,615/);
    assert.match(text, /9,223,372,036,854\.775807/);
    assert.doesNotMatch(text, /\b(NaN|Infinity|undefined)\b|1\.8e|e\+/);
  });
}

/** A gzip stream, of members, that unpacks to a tar of over 1 GiB that has no checkpoint. */
function bomb() {
  const member = gzipSync(Buffer.alloc(64 << 20), { level: 9 });
  return Buffer.concat([gzipSync(tarHeader("zeros", 17 * (64 << 20))), ...Array.from({ length: 17 }, () => member)]);
}
