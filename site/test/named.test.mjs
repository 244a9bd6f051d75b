// Lives that are found by their name: the site and the badge against igor serve.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { close, dist, open, root, serve } from "./browser.mjs";
import { cleanUp, faulty, headVectors, igorServe, published } from "./published.mjs";

after(close);
after(cleanUp);

const site = { "/": `${dist}/site` };
const verdict = async (page) => {
  await page.waitForSelector("#verdict", { timeout: 60_000 });
  return page.textContent("#verdict");
};
const link = (server, query) => `${server.url}/load.html?${new URLSearchParams(query)}`;

test("a life is found by its DID, after the visitor agrees, and nothing else is asked", async (t) => {
  const { life } = await published();
  const lives = await faulty(t, await igorServe(t, life.tree));
  const third = await serve(t, { "/x": "x" }, { headers: { "access-control-allow-origin": "*" } });
  const server = await serve(t, site);
  const page = await open(t, server.url, { expect: [/policy violation: connect-src/, /Content Security Policy/] });
  await page.fill("#find-what", life.did);
  await page.click("#find button");
  assert.match(await page.textContent("#find-error"), /does not say where/);
  await page.fill("#find-from", lives.url);
  await page.click("#find button");
  await page.waitForURL(/load\.html/);
  await page.waitForSelector("#ask:not([hidden])");
  assert.match(await page.textContent("#ask"), new RegExp(`Fetch this life.*${lives.url}.*named by you.*${life.did}`, "s"));
  await page.waitForTimeout(300);
  assert.deepEqual(lives.requests, []);
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Verified");
  assert.match(await page.textContent(".verdict"), /The agent that you expect.*2,100 checkpoints/s);
  assert.match(await page.textContent(".fetched"), new RegExp(`${lives.url}, which says that the life is at tick ${BigInt(life.tick).toLocaleString("en")}.*It can withhold the newest`));
  assert.deepEqual(lives.requests.toSorted(), [...["handovers", "head", "segments/0.car", "segments/1.car", "succession"].map((name) => `/igor/${life.did}/${name}`), `/igor/${life.did}/tail/${life.head}.car`]);
  for (const url of [`${third.url}/x`, `${lives.url}elsewhere`, `${lives.url}igor/did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck/head`]) {
    assert.equal(await page.evaluate((url) => fetch(url).then(() => "loaded", () => "refused"), url), "refused", url);
  }
  assert.deepEqual(third.requests, []);
  // It is the visitor's word still, after a reload.
  await page.reload();
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Verified");
});

test("a link leads somebody else to the same check, and its DID is the link's word", async (t) => {
  const { life } = await published();
  const lives = await faulty(t, await igorServe(t, life.tree));
  const server = await serve(t, site);
  const page = await open(t, link(server, { did: life.did, from: lives.url }));
  assert.match(await page.textContent("#ask-pins"), /named by the link, not by you/);
  assert.deepEqual(lives.requests, []);
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".verdict"), /Whose it is, is the word of whoever made the link/);
  await page.evaluate(() => (navigator.clipboard.writeText = (text) => ((window.copied = text), Promise.resolve())));
  await page.click("text=Copy a link to this check");
  const copied = await page.evaluate(() => window.copied);
  assert.equal(copied, link(server, { did: life.did, from: lives.url, head: life.head }));
  const other = await open(t, copied);
  await other.click("#ask-yes");
  assert.equal(await verdict(other), "Unbroken");
  assert.match(await other.textContent(".verdict"), /the head is in it that was named by the link/);
  // The visitor's own word makes it the agent that they expect.
  await other.click("text=Verify another");
});

test("a life is found by a CID, and by every address of it", async (t) => {
  const { life } = await published();
  const lives = await faulty(t, await igorServe(t, life.tree));
  const server = await serve(t, site);
  const page = await open(t, server.url);
  await page.fill("#find-what", life.head);
  await page.fill("#find-from", lives.url.slice(0, -1));
  await page.press("#find-from", "Enter");
  await page.waitForURL(/load\.html/);
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".verdict"), /the head you know is in it/);
  assert.equal(lives.requests[0], `/ipfs/${life.head}?format=raw`);
  assert.doesNotMatch(await page.textContent(".verdict"), /identical/);
  for (const address of [`${lives.url}igor/${life.did}`, `${lives.url}igor/${life.did}/head`, `${lives.url}ipfs/${life.head}?format=raw`, `https://verify.example/load.html?did=${life.did}&from=${lives.url}`]) {
    await page.goto(server.url);
    await page.fill("#find-what", address);
    await page.click("#find button");
    await page.waitForURL(/load\.html/);
    await page.click("#ask-yes");
    assert.equal(await verdict(page), "Unbroken", address);
    assert.match(await page.textContent(".verdict"), /2,100 checkpoints/);
  }
});

test("what a link had set stays the link's word, and what the visitor set goes with them", async (t) => {
  const did = "did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck";
  const head = "bafkreigze7a6jh3db3lz3ht4biwtavxocuaiyx5v2anksk4uaqkir7ojui";
  const server = await serve(t, site);
  const page = await open(t, `${server.url}/?head=${head}`);
  const said = (pin) => page.textContent(`#pin-${pin}-by`);
  const find = async (what, from) => {
    await page.fill("#find-what", what);
    await page.fill("#find-from", from);
    await page.click("#find button");
    await page.waitForURL(/load\.html/);
  };
  assert.match(await said("head"), /by the link/);
  await find(did, "https://lives.example/");
  assert.equal(await page.inputValue("#pin-head"), head);
  assert.match(await said("head"), /by the link/);
  assert.equal(await said("did"), "");

  for (const path of ["life.car", "%ff.car"]) {
    await page.goto(server.url);
    await page.click("#pins summary");
    await page.fill("#pin-did", did);
    await find(`https://lives.example/${path}`, "");
    assert.equal(await page.textContent("#ask-url"), `https://lives.example/${path}`);
    assert.equal(await page.inputValue("#pin-did"), did);
    assert.equal(await said("did"), "");
  }
});

test("what is no name is said, and nothing is asked", async (t) => {
  const server = await serve(t, site);
  const page = await open(t, server.url);
  for (const [what, from, words] of [
    ["", "", /Write a DID/], ["did:web:example.com", "https://x", /no DID/], ["bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", "https://x", /no CID/],
    ["javascript:alert(1)", "https://x", /no address/], ["file:///etc/passwd", "", /no address/], ["did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck", "ftp://x", /no address of a server/],
    ["did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck", "https://a:b@x/", /no address of a server/], ["https://a.example/x.car", "https://x", /Leave this empty/],
  ]) {
    await page.fill("#find-what", what);
    await page.fill("#find-from", from);
    await page.click("#find button");
    assert.match(await page.textContent("#find-error"), words, what);
    assert.equal(await page.locator("#find [aria-invalid=true]").count(), 1);
  }
  for (const query of ["did=x&from=https://a", "from=https://a", "did=did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck&from=file:///x", "cid=x&from=https://a", "did=&cid=&from=https://a",
    `did=did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck${"&from=https://a".repeat(5)}`, "history=file:///x"]) {
    await page.goto(`${server.url}/load.html?${query}`);
    assert.equal(await verdict(page), "No verdict", query);
    assert.equal(await page.isVisible("#ask"), false);
  }
});

test("a server that lies or fails makes nothing green that was not shown", async (t) => {
  const { life, old, small } = await published();
  const real = await igorServe(t, small.tree);
  const server = await serve(t, site);
  const tail = `tail/${small.head}.car`;
  const status = (code, ...paths) => (request, response, path) => paths.some((part) => path.includes(part)) && (response.writeHead(code).end("no"), true);
  const text = (part, body) => (request, response, path) => path.includes(part) && (response.end(body), true);
  const whole = Buffer.from(await (await fetch(`${real}igor/${small.did}/${tail}`)).arrayBuffer());
  const flipped = Buffer.from(whole);
  flipped[5000] ^= 1;
  const head = `igor/head/v1\nagent ${small.did}\nhead ${small.head}\ntick ${small.tick}\nprogram ${"0".repeat(64)}\ncheckpoints 60\nsegments 0\ntail 60\n`;
  const stranger = head.replace(small.did, "did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck");
  const third = await serve(t, { "/": (request, response) => response.end(head) }, { headers: { "access-control-allow-origin": "*" } });
  const cases = [
    ["nothing", () => false, "Verified", /^((?!one by one).)*$/s],
    ["the tail is missing", status(404, tail), "Verified", /one by one, which is slow: .*tail\/bafkrei\w+\.car could not be fetched: HTTP status 404/],
    ["the tail is missing, and the index", status(404, tail, "/index"), "Verified", /one by one/],
    ["the tail is cut", text(tail, whole.subarray(0, 5000)), "Verified", /one by one/],
    ["a bit of the tail is flipped", text(tail, flipped), "Verified", /one by one, which is slow: .*it was changed/],
    ["the tail is a page", text(tail, "<!doctype html><p>hello"), "Verified", /one by one, which is slow: the segments do not end in the head/],
    ["tail, index and a block are missing", status(404, ".car", "/index", "/ipfs/"), "No verdict", /404/],
    ["tail and index are missing, and a block is another one", (request, response, path) => (path.includes("/ipfs/") ? (response.end("other bytes"), true) : status(404, ".car", "/index")(request, response, path)), "No verdict", /other bytes than those of this CID/],
    ["no head", status(404, "/head"), "No verdict", /404/],
    ["the head is a page", text("/head", "<!doctype html><p>hello"), "No verdict", /no head of a life/],
    ["the head is another agent's", text("/head", stranger), "No verdict", /another agent/],
    ["the head is too long", text("/head", head + "x".repeat(1000)), "No verdict", /larger than it can be/i],
    ["the head names what is not there", text("/head", head.replace(small.head, "bafkreigze7a6jh3db3lz3ht4biwtavxocuaiyx5v2anksk4uaqkir7ojui")), "No verdict", /404/],
    ["a redirect elsewhere", (request, response, path) => path.includes("/head") && (response.writeHead(302, { location: `${third.url}${path}` }).end(), true), "No verdict", /could not be fetched/i],
  ];
  for (const [name, fault, want, words] of cases) {
    const lives = await faulty(t, real, fault);
    const noisy = /404|policy|Failed/;
    const quiet = ["nothing", "the tail is cut", "a bit of the tail is flipped", "the tail is a page", "the head is a page", "the head is another agent's", "the head is too long"].includes(name);
    const page = await open(t, link(server, { did: small.did, from: lives.url }), { expect: quiet ? [] : [noisy, /./], init: `try { sessionStorage.setItem("igor-typed", JSON.stringify({ search: location.search, names: ["did"] })) } catch {}` });
    await page.click("#ask-yes");
    assert.equal(await verdict(page), want, name);
    assert.match(await page.textContent("#result"), words, name);
    if (want === "Verified") assert.match(await page.textContent(".verdict"), /60 checkpoints/, name);
  }
  assert.deepEqual(third.requests, []);
  // An old state that a server has is a good history, and not the one with the head that is known.
  const lives = await igorServe(t, old.tree);
  const page = await open(t, link(server, { did: life.did, from: lives, head: life.head }));
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Incomplete");
  assert.match(await page.textContent(".verdict"), /the head is missing that was named by the link/);
  // Of two servers the one that knows more is read, and the other one is named.
  const newer = await igorServe(t, life.tree);
  const both = await open(t, `${server.url}/load.html?did=${life.did}&from=${lives}&from=${newer}`);
  await both.click("#ask-yes");
  assert.equal(await verdict(both), "Unbroken");
  assert.match(await both.textContent(".fetched"), new RegExp(`${newer}.*Asked too: .*${lives}, tick 7,499`, "s"));
});

test("a server that boasts keeps nobody from hearing the others", async (t) => {
  const { small } = await published();
  const real = await igorServe(t, small.tree);
  const boast = `igor/head/v1\nagent ${small.did}\nhead bafkreigze7a6jh3db3lz3ht4biwtavxocuaiyx5v2anksk4uaqkir7ojui\ntick 999999\nprogram ${"0".repeat(64)}\ncheckpoints 60\nsegments 0\ntail 60\n`;
  const boaster = await faulty(t, real, (request, response, path) => (path.includes("/head") ? (response.end(boast), true) : (response.writeHead(404).end(), true)));
  const server = await serve(t, site);
  const page = await open(t, `${server.url}/load.html?did=${small.did}&from=${boaster.url}&from=${real}`, { expect: [/404/] });
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".verdict"), /60 checkpoints/);
  assert.match(await page.textContent(".fetched"), new RegExp(`^Where it came from${real}.*Asked too: .*${boaster.url}, no head`, "s"));
});

test("without segments and index, the chain is followed back from a CID", async (t) => {
  const { life } = await published();
  const real = await igorServe(t, life.tree);
  const index = Buffer.from(await (await fetch(`${real}igor/${life.did}/index`)).arrayBuffer());
  // The 40th checkpoint: a life of which only blocks are there.
  const cid = await cidOf(index.subarray(39 * 32, 40 * 32));
  const lives = await faulty(t, real, (request, response, path) => path.startsWith("/igor/") && (response.writeHead(404).end(), true));
  const server = await serve(t, site);
  const page = await open(t, link(server, { cid, from: lives.url }), { expect: [/404/] });
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".fetched"), /one by one, which is slow: no server has a head/);
  assert.match(await page.textContent(".verdict"), /40 checkpoints/);
});

async function cidOf(hash) {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const bits = [...[1, 0x55, 0x12, 0x20], ...hash].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return "b" + bits.match(/.{1,5}/g).map((five) => alphabet[parseInt(five.padEnd(5, "0"), 2)]).join("");
}

test("the verifier reads the heads that igor reads, and no others", async () => {
  const { fetchLife } = await import(pathToFileURL(join(root, dist, "npm", "node.js")));
  const vectors = await headVectors();
  assert.ok(vectors.length > 30);
  const did = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd";
  for (const { name, head, why } of vectors) {
    const fetch = async (url) => (url.href.endsWith("/head") ? new Response(head) : new Response("", { status: 404 }));
    const failure = await fetchLife(did, "https://agent.example/", { fetch }).next().then(() => undefined, (error) => error);
    if (why) assert.match(failure.message, /no head of a life|larger than it can be/, name);
    else assert.match(failure.message, /(segments\/0|tail\/bafkrei\w+)\.car: could not be fetched: HTTP status 404/, name);
  }
});

test("fetchLife gives what verifyHistory takes", async (t) => {
  const { fetchLife, verifyHistory } = await import(pathToFileURL(join(root, dist, "npm", "node.js")));
  const { life } = await published();
  const url = await igorServe(t, life.tree);
  const report = await verifyHistory(fetchLife(life.did, url), { did: life.did });
  assert.equal(report.verdict, "verified");
  assert.equal(report.head, life.head);
  await assert.rejects(verifyHistory(fetchLife(life.did, url, { limit: 10_000 }), { did: life.did }), { code: "too-large" });
  await assert.rejects(verifyHistory(fetchLife(life.did, "ftp://x/"), { did: life.did }), TypeError);
});

test("a badge shows the life of a did from a server", async (t) => {
  const { life, old } = await published();
  let tree = await igorServe(t, life.tree);
  const older = await igorServe(t, old.tree);
  const lives = await faulty(t, tree);
  const missing = await faulty(t, tree, (request, response, path) => path.includes("segments/1.car") && (response.writeHead(404).end(), true));
  const badges = [
    `did="${life.did}" from="${lives.url}"`, `did="${life.did}" from="${older}"`, `did="${life.did}" from="${older}" head="${life.head}"`, `did="did:key:z6MkrPXXoQTwf17h3mKjTAcFyGZiXSWrqZEMnj6oDkxmx3ck" from="${lives.url}"`,
    `from="${lives.url}"`, `did="${life.did}" from="${lives.url}" src="/x.car"`, `did="${life.did}" from="ftp://x"`, `did="${life.did}" from="${missing.url}"`,
  ];
  const host = await serve(t, {
    "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/npm/igor-lineage.js"></script>${badges.map((one) => `<igor-lineage ${one}></igor-lineage>`).join("")}`,
    "/npm/": `${dist}/npm`,
  });
  const page = await open(t, `${host.url}/page`, { expect: [/404/] });
  await page.waitForFunction(() => [...document.querySelectorAll("igor-lineage")].every(({ state }) => state && state !== "loading"), undefined, { timeout: 60_000 });
  const shown = await page.evaluate(() => [...document.querySelectorAll("igor-lineage")].map((badge) => `${badge.state} ${badge.report?.checkpoints ?? badge.error.message}`));
  const want = [/^verified 2100$/, /^verified 1500$/, /^incomplete 1500$/, /^error .*HTTP status 404/, /^error .*no did/, /^error src and from: give one/, /^error from: ftp:/, /^error .*segments\/1\.car: could not be fetched: HTTP status 404/];
  assert.equal(shown.length, want.length);
  want.forEach((pattern, i) => assert.match(shown[i], pattern));
  const href = await page.evaluate(() => {
    const [badge] = document.querySelectorAll("igor-lineage");
    badge.showDetails();
    return badge.shadowRoot.querySelector("dialog a").href;
  });
  assert.equal(href, `https://igor.dev/load.html?${new URLSearchParams({ did: life.did, from: lives.url })}`);
});
