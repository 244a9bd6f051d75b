// What the Verify page says of a history: what was given and not looked at, whose word a pin is,
// and by which build of the page a verdict is.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import { close, dist, open, root, serve } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";
import { tarball } from "./tar.mjs";
import { zipOf } from "./zips.mjs";

after(close);

const histories = join(root, "testdata", "histories");
const vectors = join(root, "testdata", "vectors");
const site = { "/": `${dist}/site` };

async function visit(t, path = "", options) {
  const server = await serve(t, { ...site });
  return open(t, `${server.url}/${path}`, options);
}

async function verdict(page) {
  await page.waitForSelector("#verdict");
  return page.textContent("#verdict");
}

const give = async (page, name, buffer) => {
  if (await page.isVisible("#result")) await page.click("text=Verify another");
  await page.setInputFiles("#files", { name, mimeType: "", buffer: Buffer.from(buffer) });
  return verdict(page);
};

test("archives with checkpoints that look like archives, and what macOS and gzip add", async (t) => {
  const page = await visit(t);
  const marks = Buffer.from("PK\x03\x04 PK\x07\x08 PK\x01\x02 PK\x05\x06", "latin1");
  const life = checkpoints(5, (i) => ({ state: Buffer.concat([Buffer.alloc(i * 3000), marks, marks]) }));
  const named = life.map((data, i) => ({ name: `life/${i}.ckpt`, data }));
  const leftover = { name: "__MACOSX/life/._0.ckpt", data: Buffer.from("\0\x05\x16\x07", "latin1") };
  const files = Object.fromEntries([...named, { name: "._x.ckpt", data: leftover.data }].map(({ name, data }) => [name, data]));
  const good = {
    "stored.zip": zipOf(named.map((entry) => ({ ...entry, descriptor: true }))),
    "finder.zip": zipOf([...named, leftover].map((entry) => ({ ...entry, method: 8, descriptor: true }))),
    "mac.tgz": gzipSync(tarball(files)),
    "zeros.tar.gz": Buffer.concat([gzipSync(tarball(files)), Buffer.alloc(700)]),
    "life.car.gz": gzipSync(car(life)),
    "LIFE.CAR": car(life),
  };
  for (const [name, bytes] of Object.entries(good)) {
    assert.equal(await give(page, name, bytes), "Unbroken", name);
    assert.match(await page.textContent(".sum"), /^5 checkpoints/, name);
  }
});

test("what is no history is named, and has no verdict", async (t) => {
  const page = await visit(t);
  const [one] = checkpoints(1);
  const cases = {
    "two.zip": [Buffer.concat([zipOf([{ name: "1.ckpt", data: one }]), zipOf([{ name: "1.ckpt", data: one }])]), /ambiguous archive/],
    "secret.zip": [zipOf([{ name: "1.ckpt", data: one, flags: 1 }]), /encrypted.*password/],
    "deflate64.zip": [zipOf([{ name: "1.ckpt", data: one, raw: deflateRawSync(one), method: 9 }]), /Deflate64.*unpack it first/],
    "life.7z": [Buffer.from("7z\xbc\xaf\x27\x1c\0\x04", "latin1"), /7z.*unpack it first/],
    "life.tar.xz": [Buffer.from("\xfd7zXZ\0", "latin1"), /xz.*unpack it first/],
    "life.tar.zst": [Buffer.from("\x28\xb5\x2f\xfd", "latin1"), /Zstandard.*unpack it first/],
    "life.tar.bz2": [Buffer.from("BZh9"), /bzip2.*unpack it first/],
    "link.zip": [zipOf([{ name: "1.ckpt", data: Buffer.from("/etc/passwd"), attributes: 0xa1ff0000 }]), /link/],
    "history.car.html": [Buffer.from("<!doctype html><title>Sign in</title>"), /web page.*download/],
    pointer: [Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), /Git LFS pointer.*git lfs pull/],
    "letter.txt": [Buffer.from("Dear visitor"), /text, and no checkpoint/],
  };
  for (const [name, [bytes, expected]] of Object.entries(cases)) {
    assert.equal(await give(page, name, bytes), "No verdict", name);
    assert.match(await page.textContent(".verdict"), expected, name);
  }
  // What is named as a checkpoint is judged, and named for what it is.
  assert.equal(await give(page, "1.ckpt", cases.pointer[0]), "Invalid");
  assert.match(await page.textContent(".problem"), /Git LFS pointer/);
});

test("archives are unpacked off the page's thread", { timeout: 240_000 }, async (t) => {
  const page = await visit(t);
  const life = checkpoints(3, (i) => ({ state: Buffer.alloc(24 << 20, i) }));
  const zip = zipOf(life.map((data, i) => ({ name: `${i}.ckpt`, data, method: 8 })));
  // By the profiler of the page's thread: a clock would count what other programs take.
  const session = await page.context().newCDPSession(page);
  await session.send("Profiler.enable");
  await session.send("Profiler.start");
  assert.equal(await give(page, "large.zip", zip), "Unbroken");
  const { profile } = await session.send("Profiler.stop");
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const own = profile.samples.map((id) => names.get(id)).filter(({ url }) => /unpacker/.test(url));
  assert.deepEqual(own, [], "the unpacker ran on the page's thread");
});

test("what was given and not looked at is said, and a key is warned of", async (t) => {
  const page = await visit(t);
  await page.setInputFiles("#folder", join(vectors, "kind-agent-folder"));
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".sum"), /from the folder kind-agent-folder/);
  const said = await page.textContent(".questions");
  assert.match(said, /Was all of it checked\?Every checkpoint.*not looked at: \d+ other files \(.*a key.*receipts/);
  assert.match(await page.textContent(".secret"), /secret key/);
  await page.click("text=Verify another");
  await page.setInputFiles("#files", join(root, dist, "site", "samples", "whole.car"));
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".questions"), /Was all of it checked\?Yes/);
  assert.equal(await page.locator(".secret").count(), 0);
});

test("a pile of two keys names both, and neither as the agent", async (t) => {
  const page = await visit(t);
  const pile = [...checkpoints(3), ...checkpoints(5)].map((data, i) => ({ name: `${i}.ckpt`, data }));
  assert.equal(await give(page, "pile.zip", zipOf(pile)), "Invalid");
  const keys = await page.locator(".keys li").allTextContents();
  assert.match(keys[0], /^5 checkpoints by did:key:z6Mk/);
  assert.match(keys[1], /^3 checkpoints by did:key:z6Mk/);
  assert.match(await page.textContent(".names"), /^Key with most/);
});

test("names and states of others stand by themselves, with what is not seen in them", async (t) => {
  const page = await visit(t);
  const [bytes] = checkpoints(1, () => ({ state: Buffer.from("tab\tturn\u202eback\u200b") }));
  const name = "in\u202evoice\u0007.ckpt";
  assert.equal(await give(page, name, bytes.subarray(0, 100)), "Invalid");
  assert.match(await page.textContent(".problem .at bdi"), /^in\\u202evoice\\u0007\.ckpt$/);
  assert.equal(await give(page, name, bytes), "Unbroken");
  await page.waitForSelector(".state pre");
  assert.equal(await page.textContent(".state pre bdi"), "tab\tturn\\u202eback\\u200b");
  const raw = await page.evaluate(() => /[\u202e\u200b\u0007]/.test(document.body.innerText));
  assert.equal(raw, false);
});

test("a tick, a CID and both sides of a fork are found", async (t) => {
  const page = await visit(t);
  await page.click('[data-sample="forked.zip"]');
  assert.equal(await verdict(page), "Invalid");
  const title = (expected) => page.waitForFunction((expected) => document.querySelector(".which .title p").textContent === expected, expected);
  const go = async (goal) => {
    await page.fill("#goal", goal);
    await page.press("#goal", "Enter");
  };
  await page.click("text=Inspect the other side");
  await title("0000000020-R.ckpt");
  await page.click("text=Inspect this side");
  await title("0000000020.ckpt");
  await go("9");
  await title("0000000009.ckpt");
  await go("10");
  await title("0000000014.ckpt");
  await page.waitForFunction(() => /no tick 10; the next one is 14/.test(document.getElementById("goal-said").textContent));
  const head = await page.textContent(".problem dd code");
  await go(head);
  await title("0000000020.ckpt").catch(() => title("0000000020-R.ckpt"));
  await go("bafkreinothing");
  await page.waitForFunction(() => /no such checkpoint/.test(document.getElementById("goal-said").textContent));
});

test("on no page is a text taken for HTML or for a script's address", async (t) => {
  const server = await serve(t, { ...site });
  for (const path of ["", "load.html", "embed.html", "ci.html", "specs/"]) {
    const page = await open(t, `${server.url}/${path}`, { expect: [/TrustedHTML/, /TrustedScriptURL/, /TrustedTypePolicy/, /policy violation: (require-trusted-types-for|trusted-types) /] });
    const outcomes = await page.evaluate(() => {
      const tries = [() => (document.createElement("p").innerHTML = "<b>x</b>"), () => new Worker("app/x.js"), () => trustedTypes.createPolicy("other", {})];
      return tries.map((attempt) => {
        try {
          attempt();
          return "done";
        } catch (error) {
          return error.name;
        }
      });
    });
    assert.deepEqual(outcomes, ["TypeError", "TypeError", "TypeError"], path);
  }
});

const newer = "0123456789abcdef";

/** Opens the page that there is, beside a newer build, and returns the newer one's folder in the repository. */
async function twoBuilds(t) {
  const folder = await mkdtemp(join(root, dist, "newer-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(root, dist, "site"), folder, { recursive: true });
  const { build } = JSON.parse(await readFile(join(folder, "build.json"), "utf8"));
  const edit = async (name, f) => {
    const before = await readFile(join(folder, name), "utf8");
    const after = f(before);
    assert.notEqual(before, after, name);
    await writeFile(join(folder, name), after);
    return [before, after].map((text) => createHash("sha256").update(text).digest("hex").slice(0, 16));
  };
  for (const name of ["index.html", "build.json"]) {
    const [before, after] = await edit(name, (text) => text.replaceAll(build, newer));
    await edit("sw.js", (script) => script.replaceAll(before, after));
  }
  await edit("sw.js", (script) => script.replace(/igor-site-/, "igor-site-newer-"));
  const routes = { ...site };
  const server = await serve(t, routes);
  const page = await open(t, server.url, { init: () => navigator.serviceWorker.addEventListener("controllerchange", () => (window.controllerChanged = true)) });
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  const runs = () => page.getAttribute('meta[name="igor-build"]', "content");
  const check = async () => {
    await page.click('[data-sample="whole.car"]');
    await verdict(page);
  };
  assert.equal(await runs(), build);
  // Without a network, what was kept last.
  const offline = async () => {
    await page.waitForFunction(() => window.controllerChanged);
    await page.context().setOffline(true);
    t.after(() => page.context().setOffline(false));
    await page.reload();
    assert.equal(await runs(), newer);
    await check();
  };
  return { folder: folder.slice(root.length + 1), routes, server, page, runs, check, offline };
}

test("a newer build reaches the visitor at once, and an older one's verdict says so", async (t) => {
  const { folder, routes, server, page, runs, check, offline } = await twoBuilds(t);
  await check();
  while (!server.requests.includes("/build.json")) await page.waitForTimeout(20);
  assert.equal(await page.locator(".outdated").count(), 0);

  routes["/"] = folder;
  await page.click("text=Verify another");
  await check();
  await page.waitForSelector(".outdated");
  assert.match(await page.textContent(".outdated"), /older version/);

  await page.click("text=Load it again");
  await page.waitForSelector("#drop", { state: "visible" });
  assert.equal(await runs(), newer);
  await check();
  assert.equal(await page.locator(".outdated").count(), 0);

  await offline();
});

test("what a network answers in the place of a build's files is not kept", async (t) => {
  const { folder, routes, server, page, runs, check, offline } = await twoBuilds(t);
  const files = JSON.parse(/\{"[^{}]*"index\.html":"[0-9a-f]{16}"[^{}]*\}/.exec(await readFile(join(root, folder, "sw.js"), "utf8"))[0]);

  // The new service worker comes, and then a page to log in to the network, for everything.
  routes["/"] = folder;
  const scripts = Object.keys(files).filter((file) => /^(app|styles)\//.test(file));
  assert.ok(scripts.length > 5);
  for (const file of scripts) routes[`/${file}`] = "<!doctype html><title>Log in</title>";
  const came = await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const found = new Promise((resolve) => registration.addEventListener("updatefound", () => resolve(registration.installing)));
    registration.update();
    const worker = await found;
    while (worker.state !== "redundant" && worker.state !== "activated") await new Promise((resolve) => worker.addEventListener("statechange", resolve, { once: true }));
    return worker.state;
  });
  assert.equal(came, "redundant");
  assert.equal((await page.evaluate(() => caches.keys())).length, 1, "the build of the open page is no longer kept alone");
  await check();

  for (const file of scripts) delete routes[`/${file}`];
  await page.goto(server.url);
  assert.equal(await runs(), newer);
  await check();
  await offline();
});
