import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, open, root, serve } from "./browser.mjs";

after(close);

const pageHTML = `<!doctype html><html lang="en"><title>test</title><script type="module">
import * as verifier from "/npm/index.js";
window.verifier = verifier;
</script>`;

test("a folder of a real life, in Chromium", async (t) => {
  const server = await serve(t, { "/": pageHTML, "/page": pageHTML, "/npm/": "dist/npm", "/histories/": "testdata/histories" });
  const page = await open(t, server.url + "/page");
  const names = (await readdir(join(root, "testdata/histories/heartbeat-01"))).filter((name) => name.endsWith(".ckpt"));
  assert.ok(names.length > 0);
  const report = await page.evaluate(async (names) => {
    const files = [];
    for (const name of names) files.push({ name, bytes: await (await fetch(`/histories/heartbeat-01/${name}`)).blob() });
    return window.verifier.verifyHistory(files);
  }, names);
  assert.equal(report.verdict, "verified");
  assert.equal(report.checkpoints, names.length);
});
