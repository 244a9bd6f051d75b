// What a team does that puts the badge on its page: it copies the package's files
// to its own server, and the lines from the Embed page into its own page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, dist, open, root, serve, strictPolicy } from "./browser.mjs";

after(close);

const whole = await readFile(join(root, dist, "site", "samples", "whole.car"));

/** The team's server: its page, in a folder of its own, the package's files and the history, under the strict policy. */
function team(t, lines) {
  return serve(
    t,
    {
      "/dashboards/agents": `<!doctype html>\n<html lang="en">\n<title>Agents</title>\n<h1>Agents</h1>\n${lines}\n`,
      "/igor/": `${dist}/npm`,
      "/history.car": (_, response) => response.end(whole),
    },
    { headers: { "content-security-policy": strictPolicy } },
  );
}

/** Holds a team's page with the lines to what the badge promises, and returns the report. */
async function embedded(t, site, lines) {
  assert.match(lines, /^<script type="module" src="[^"]+"><\/script>\n<igor-lineage [^\n]+<\/igor-lineage>$/);
  const host = await team(t, lines);
  const before = site.requests.length;
  const page = await open(t, `${host.url}/dashboards/agents`);
  await page.waitForSelector("igor-lineage[state=verified]");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.localName), "igor-lineage");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "agent lineage: verified" });
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(site.requests.length, before, "the embedded badge asked the site");
  assert.ok(host.requests.some((path) => path.endsWith("/worker.js")), "no worker was started");
  return page.evaluate(() => document.querySelector("igor-lineage").report);
}

test("the two lines of the Embed page, as printed, under a strict policy on another origin", async (t) => {
  const site = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, `${site.url}/embed.html`);
  await page.waitForSelector("igor-lineage[state=verified]");
  await page.evaluate(() => navigator.serviceWorker.ready); // has all of the site that it keeps
  assert.equal(await page.textContent('[aria-label="A content security policy"]'), `Content-Security-Policy: ${strictPolicy}`);
  const report = await embedded(t, site, await page.textContent("#code"));
  assert.equal(report.identity, "self-asserted");

  await page.fill("#did", report.did);
  await page.fill("#head", report.head);
  await page.waitForFunction(() => document.querySelector("igor-lineage").report?.identity === "pinned");
  await page.fill("#src", "/lives/a&b.car");
  const link = new URL(await page.textContent("#link"));
  assert.equal(link.href.split("?")[0], `${site.url}/load.html`);
  assert.deepEqual([...link.searchParams], [["history", "https://agent.example/lives/a&b.car"], ["did", report.did], ["head", report.head]]);
  // The badge takes several files, a link only one.
  await page.fill("#src", "/lives/1.ckpt  /lives/2.ckpt");
  assert.match(await page.textContent("#code"), /src="\/lives\/1.ckpt  \/lives\/2.ckpt"/);
  assert.equal(await page.isVisible("#link"), false);
  assert.match(await page.textContent("#link-several"), /one CAR/);
  await page.fill("#src", "");
  assert.equal(await page.isVisible("#link"), true);
  assert.equal(await page.isVisible("#link-several"), false);
  const pinned = await embedded(t, site, await page.textContent("#code"));
  assert.equal(pinned.identity, "pinned");
  assert.equal(pinned.completeness, "head-pinned");
});
