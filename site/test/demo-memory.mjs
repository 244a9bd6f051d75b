// A part of make demo-memory: verifies a life by its DID on the site, in Chromium.
// node site/test/demo-memory.mjs DID SERVER

import { existsSync } from "node:fs";
import { join } from "node:path";
import { close, dist, open, root, serve } from "./browser.mjs";

const [did, from] = process.argv.slice(2);
const cleanups = [];
const context = { after: (f) => cleanups.push(f), diagnostic: () => {}, signal: AbortSignal.timeout(60_000) };

if (!existsSync(join(root, dist, "site"))) {
  console.log("there is no browser's part: npm run build makes the site");
  process.exit(0);
}
let page;
try {
  const server = await serve(context, { "/": `${dist}/site` });
  page = await open(context, server.url);
} catch (error) {
  console.log(`there is no browser: ${error}`);
  process.exit(0);
}
await page.fill("#find-what", did);
await page.fill("#find-from", from);
await page.click("#find button");
await page.waitForSelector("#ask:not([hidden])");
await page.click("#ask-yes");
await page.waitForSelector("#verdict", { timeout: 30_000 });
const verdict = await page.textContent("#verdict");
console.log(`the page says: ${verdict}. ${(await page.textContent(".verdict .sum").catch(() => "")) ?? ""}`);
for (const cleanup of cleanups) await cleanup();
await close();
process.exit(verdict === "Verified" ? 0 : 1);
