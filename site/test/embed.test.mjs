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
async function embedded(t, site, lines, says) {
  assert.match(lines, /^<script type="module" src="[^"]+"><\/script>\n<igor-lineage [^\n]+<\/igor-lineage>$/);
  const host = await team(t, lines);
  const before = site.requests.length;
  const page = await open(t, `${host.url}/dashboards/agents`);
  await page.waitForSelector("igor-lineage[state=verified]");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.localName), "igor-lineage");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: `agent lineage: ${says}` });
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
  const report = await embedded(t, site, await page.textContent("#code"), "unbroken");
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
  const pinned = await embedded(t, site, await page.textContent("#code"), "verified");
  assert.equal(pinned.identity, "pinned");
  assert.equal(pinned.completeness, "head-pinned");
});

/** What the Embed page shows: the badge's state, its details' first line, and the three fields. */
const preview = (page) =>
  page.evaluate(() => {
    const { state, report } = document.querySelector("igor-lineage");
    const fields = ["src", "did", "head"].map((id) => document.getElementById(id).value);
    return { shown: document.getElementById("preview").value, state, identity: report?.identity, completeness: report?.completeness, checkpoints: report?.checkpoints, fields };
  });

const settled = (page, state) => page.waitForSelector(`igor-lineage[state=${state}]`);

test("from a verdict, the Embed page shows the badge of that history, in memory alone", async (t) => {
  const other = await serve(t, { "/lives/": `${dist}/site/samples` }, { headers: { "access-control-allow-origin": "*" } });
  const site = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, `${site.url}/load.html?history=${other.url}/lives/whole.car`);
  await page.click("#ask-yes");
  await page.waitForSelector("#verdict");
  const embed = async () => {
    const [opened] = await Promise.all([page.waitForEvent("popup"), page.click("text=Embed the badge")]);
    const seen = [];
    opened.on("console", (message) => seen.push(message.text()));
    opened.on("pageerror", (error) => seen.push(String(error)));
    t.after(async () => {
      await opened.close();
      assert.deepEqual(seen, []);
    });
    await opened.waitForFunction(() => document.getElementById("preview")?.value === "own");
    return opened;
  };
  const good = await embed();
  await settled(good, "verified");
  const first = await preview(good);
  assert.deepEqual({ ...first, fields: first.fields.slice(0, 1) }, { shown: "own", state: "verified", identity: "pinned", completeness: "head-pinned", checkpoints: 19, fields: [`${other.url}/lives/whole.car`] });
  assert.match(await good.textContent("#code"), new RegExp(`src="${other.url}/lives/whole.car" did="${first.fields[1]}" head="${first.fields[2]}"`));
  // Every option is held to that history.
  await good.fill("#did", "");
  await good.fill("#head", "");
  await good.waitForFunction(() => document.querySelector("igor-lineage").report?.identity === "self-asserted");
  assert.equal((await preview(good)).completeness, "unpinned");
  await good.fill("#did", "did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n");
  await settled(good, "invalid");
  await good.fill("#did", "did:key:nobody");
  await settled(good, "error");
  await good.selectOption("#preview", "whole.car");
  await settled(good, "verified");
  await good.reload();
  await good.waitForFunction(() => document.getElementById("preview").value === "own");

  // What is no one path has the verdict of its badge too.
  await page.setInputFiles("#files", join(root, dist, "site", "samples", "forked.zip"));
  await page.waitForFunction(() => document.getElementById("verdict").textContent === "Invalid");
  const forked = await embed();
  await settled(forked, "invalid");
  assert.equal(await forked.evaluate(() => document.querySelector("igor-lineage").report.problems[0].code), "fork");
  // Of a verdict that is not in memory any more, the samples are shown.
  await good.reload();
  await settled(good, "verified");
  assert.equal((await preview(good)).shown, "whole.car");
});

test("files that are given to the Embed page are previewed there", async (t) => {
  const site = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, `${site.url}/embed.html`);
  await settled(page, "verified");
  await page.setInputFiles("#folder", join(root, "testdata", "histories", "heartbeat-01"));
  await page.waitForFunction(() => document.getElementById("preview").value === "own");
  await settled(page, "verified");
  const { fields, ...shown } = await preview(page);
  assert.deepEqual(shown, { shown: "own", state: "verified", identity: "pinned", completeness: "head-pinned", checkpoints: 16 });
  assert.ok(fields[1].startsWith("did:key:") && fields[2].startsWith("bafkrei"), String(fields));
  // What is no history changes nothing, and says why.
  await page.setInputFiles("#files", { name: "life.car", mimeType: "", buffer: Buffer.from("hello") });
  await page.waitForSelector("#said.failed");
  assert.match(await page.textContent("#said"), /^life\.car: /);
  assert.deepEqual(await preview(page), { fields, ...shown });
  const cdp = await page.context().newCDPSession(page);
  const at = { x: 400, y: 500, data: { items: [], files: [join(root, "testdata", "histories", "mut-missing-mid")], dragOperationsMask: 1 } };
  for (const [type, seen] of [["dragEnter", true], ["dragOver", true], ["drop", false]]) {
    await cdp.send("Input.dispatchDragEvent", { type, ...at });
    assert.equal(await page.isVisible("#let-go"), seen, type);
  }
  await settled(page, "incomplete");
  assert.equal(await page.textContent("#said"), "");
});
