// What the Verify page says of payments on chains, whose receipts lie with a history.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, dist, open, serve } from "./browser.mjs";
import { checkpoints, onChain } from "./life.mjs";

after(close);

/** A folder as an agent has it, with these receipts. */
async function agent(t, keys, receipts) {
  const dir = await mkdtemp(join(tmpdir(), "payments-"));
  t.after(() => rm(dir, { recursive: true }));
  const folder = join(dir, "watcher");
  await mkdir(join(folder, "history"), { recursive: true });
  const life = checkpoints(3, undefined, keys);
  for (const [i, checkpoint] of life.entries()) await writeFile(join(folder, "history", `${i}.ckpt`), checkpoint);
  await writeFile(join(folder, "receipts.x402"), receipts);
  return folder;
}

async function verify(t, folder) {
  const server = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, server.url);
  await page.setInputFiles("#folder", folder);
  await page.waitForSelector("#verdict");
  return page;
}

test("payments on chains are shown as the agent's word", async (t) => {
  const keys = generateKeyPairSync("ed25519");
  const receipts = [onChain(keys, 0, 2500), onChain(keys, 1, 20_000_000)];
  const page = await verify(t, await agent(t, keys, Buffer.concat(receipts)));
  assert.equal(await page.textContent("#verdict"), "Unbroken");
  const shown = await page.textContent("section.payments");
  for (const text of ["no chain was asked", "0.002500 to 0x7070", "20.000000", "eip155:8453", "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913", `0x${"d1".repeat(32)}`, "2 of 3 nodes", "2025-11-28T13:36:40Z"]) {
    assert.ok(shown.includes(text), `${text} is not in ${shown}`);
  }
  // Never green: nobody has verified that anything was paid.
  assert.equal(await page.locator("section.payments .mark.verified, section.payments .mark.yes").count(), 0);
});

test("what is not signed, another agent's and what is no receipt is not shown as a payment", async (t) => {
  const keys = generateKeyPairSync("ed25519");
  const forged = onChain(keys, 0, 2500);
  forged[200] ^= 1;
  const foreign = onChain(generateKeyPairSync("ed25519"), 1, 7777);
  let page = await verify(t, await agent(t, keys, Buffer.concat([forged, foreign])));
  assert.equal(await page.locator(".payment").count(), 0);
  const shown = await page.textContent("section.payments");
  assert.match(shown, /1 receipt with a signature that is not valid/);
  assert.match(shown, /1 receipt of another agent lies with them/);
  assert.ok(!shown.includes("0.007777") && !shown.includes("0.002500"));
  page = await verify(t, await agent(t, keys, Buffer.concat([onChain(keys, 0, 1), Buffer.from("<script>")])));
  assert.match(await page.textContent("section.payments"), /could not be read/);
  assert.equal(await page.textContent("#verdict"), "Unbroken");
  page = await verify(t, await agent(t, keys, Buffer.alloc(0)));
  assert.equal(await page.locator("section.payments").count(), 0);
});

if (process.env.SHOTS) {
  test("pictures", async (t) => {
    const keys = generateKeyPairSync("ed25519");
    const folder = await agent(t, keys, Buffer.concat([onChain(keys, 0, 2500), onChain(keys, 1, 20_000_000)]));
    const server = await serve(t, { "/": `${dist}/site` });
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [390, 1280]) {
        const page = await open(t, server.url, { viewport: { width, height: 900 }, colorScheme });
        await page.setInputFiles("#folder", folder);
        await page.waitForSelector("section.payments");
        await page.locator("section.payments").screenshot({ path: join(process.env.SHOTS, `payments-${colorScheme}-${width}.png`) });
      }
    }
  });
}
