// What the Verify page says of what lies beside a history: who saw its head, whom it
// succeeds, who ran it. In Chromium, by the vectors that igor-verify has too.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { after, test } from "node:test";
import { close, dist, open, root, serve } from "./browser.mjs";
import { car } from "./life.mjs";
import { cleanUp, faulty, igorServe, publish } from "./published.mjs";

after(close);
after(cleanUp);

const hex = (text) => Buffer.from(text, "hex");
const vector = async (name) => JSON.parse(await readFile(join(root, "testdata", `${name}.json`), "utf8"));
const good = "Seen by 2 of 3 witnesses";

/** The files of a vector: a CAR, and what lies beside it. */
function filesOf({ checkpoints, handovers, proof, word, succession, commitment }) {
  const file = (name, buffer) => buffer && { name, mimeType: "", buffer: Buffer.from(buffer) };
  return [
    file("life.car", car(checkpoints.map(hex))), file("life.handovers", handovers && hex(handovers)), file("head.tlog-proof", proof),
    file("head.monitor", word), file("succession", succession && hex(succession)), file("successor.tlog-proof", commitment),
  ].filter(Boolean);
}

async function start(t, options) {
  const server = await serve(t, { "/": `${dist}/site` });
  return open(t, server.url, options);
}

async function give(page, files) {
  await page.setInputFiles("#files", files);
  await page.waitForSelector("#verdict");
  return page.textContent("#verdict");
}

/** Says which witnesses are believed. */
async function believe(page, { policy, monitor, require }) {
  await page.click("#pins summary");
  await page.fill("#pin-policy", policy);
  if (monitor) await page.fill("#pin-monitor", monitor);
  if (require) await page.check("#pin-require");
}

/** The answer to a question, and its mark. */
async function answer(page, question) {
  const one = page.locator(".questions > div", { hasText: question });
  if ((await one.count()) === 0) return undefined;
  const mark = (await one.locator(".mark").getAttribute("class")).replace("mark ", "");
  return { mark, text: await one.locator("dd").textContent() };
}

const seen = (page) => answer(page, "Did others see");
const succeeds = (page) => answer(page, "succeed another");

test("a head that was witnessed, as the visitor's policy wants it", async (t) => {
  const v = await vector("witness/head-good");
  const page = await start(t);
  await believe(page, { ...v, require: true });
  assert.equal(await give(page, filesOf(v)), "Unbroken"); // nobody pinned the DID
  const { mark, text } = await seen(page);
  assert.equal(mark, "yes");
  for (const words of [good, "existed before 2027-01-15 08:00:03 UTC", "W1, W3", "log.example/heads"]) assert.ok(text.includes(words), text);
  assert.doesNotMatch(await page.textContent(".questions"), /not looked at/);
  // What the inspector says of a changed byte is held to the same.
  assert.match(await page.textContent(".verdict-line"), /The history is verified/);
  const change = async (...digits) => {
    await page.click('.hex [data-at="3"]');
    for (const digit of digits) await page.keyboard.press(digit);
  };
  await change("f", "f");
  await page.waitForSelector(".verdict-line.invalid");
  await page.click("text=Undo all");
  await page.waitForSelector(".verdict-line:not(.invalid)");
  assert.match(await page.textContent(".verdict-line"), /The history is verified/);
});

test("what is not shown is never a yes, whatever lies there", async (t) => {
  const cases = [
    ["head-none-required", /not shown: there is no proof/, "Incomplete"], ["head-cut", /not shown/, "Unbroken"], ["head-malleable", /not shown/, "Unbroken"],
    ["head-another-agent", /another agent/, "Unbroken"], ["head-monitor-newer", /newer head was logged/, "Unbroken"], ["head-monitor-newer-required", /newer head was logged/, "Incomplete"], ["head-monitor-forks-required", /lived twice/, "Incomplete"],
    ["head-monitor-silent-required", /.*/, "Incomplete"],
  ];
  for (const [name, words, verdict] of cases) {
    const v = await vector(`witness/${name}`);
    const page = await start(t);
    await believe(page, v);
    assert.equal(await give(page, filesOf(v)), verdict, name);
    const { mark, text } = await seen(page);
    assert.match(text, words, name);
    if (!name.includes("silent")) assert.equal(mark, "invalid", name);
    await page.close();
  }
});

test("a policy is the visitor's word only if the visitor gave it", async (t) => {
  const v = await vector("witness/head-good");
  const policy = { name: "heads.policy", mimeType: "", buffer: Buffer.from(v.policy) };
  // Given with the history, it is of whoever gave both.
  let page = await start(t);
  await give(page, [...filesOf(v), policy]);
  assert.deepEqual(await seen(page).then(({ mark, text }) => [mark, text.includes(good), text.includes("given with the history, not by you")]), ["open", true, true]);
  assert.doesNotMatch(await page.textContent(".questions"), /not looked at/);
  // By itself it is what the visitor says, and proofs are kept for the history.
  page = await start(t);
  const [life, proof] = filesOf(v);
  await page.setInputFiles("#files", [policy]);
  await page.waitForFunction(() => document.querySelector("#pin-policy").value !== "");
  await page.setInputFiles("#files", [proof]);
  await page.waitForSelector("#kept:not([hidden])");
  assert.match(await page.textContent("#kept"), /head\.tlog-proof/);
  await give(page, [life]);
  assert.deepEqual(await seen(page).then(({ mark, text }) => [mark, text.includes(good)]), ["yes", true]);
  await page.click("text=Verify another");
  assert.equal(await page.isVisible("#kept"), false);
  // Pasted anywhere.
  page = await start(t);
  await page.evaluate((text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  }, v.policy);
  assert.equal(await page.inputValue("#pin-policy"), v.policy.trim());
  // In a folder or an archive nobody says anything.
  const dir = await mkdtemp(join(tmpdir(), "seen-"));
  t.after(() => rm(dir, { recursive: true }));
  const folder = join(dir, "watcher");
  await mkdir(join(folder, "history"), { recursive: true });
  for (const [i, text] of v.checkpoints.entries()) await writeFile(join(folder, "history", `${i}.ckpt`), hex(text));
  await writeFile(join(folder, "heads.policy"), v.policy);
  await writeFile(join(folder, "head.tlog-proof"), v.proof);
  page = await start(t);
  await page.setInputFiles("#folder", folder);
  await page.waitForSelector("#verdict");
  assert.deepEqual(await seen(page).then(({ mark, text }) => [mark, /You named no witnesses/.test(text)]), ["open", true]);
  await page.click("text=Verify another");
  await believe(page, v);
  await page.setInputFiles("#folder", folder);
  await page.waitForSelector("#verdict");
  await page.waitForFunction((good) => document.querySelector(".questions")?.textContent.includes(good), good);
});

test("a text that is no policy keeps no history from its verdict", async (t) => {
  const v = await vector("witness/head-good");
  const page = await start(t);
  const text = (name, content) => ({ name, mimeType: "", buffer: Buffer.from(content) });
  assert.equal(await give(page, [...filesOf(v), text("README", "log of the day\nquorum none\n"), text("notes.txt", "witness the power")]), "Unbroken");
  assert.equal(await page.locator(".questions", { hasText: "You named no witnesses" }).count(), 1);
  assert.match(await page.textContent(".questions"), /2 other files|3 other files/);
});

test("a policy that is none, and a demand without one", async (t) => {
  const v = await vector("witness/head-good");
  for (const [terms, words, field] of [
    [{ policy: "quorum none" }, /Policy: it names no log/, "pin-policy"], [{ policy: v.policy, monitor: "nobody" }, /monitor/, "pin-monitor"], [{ policy: "", require: true }, /Say which witnesses/, "pin-policy"],
    [{ policy: "<img src=x onerror=alert(1)>" }, /line 1/, "pin-policy"],
  ]) {
    const page = await start(t);
    await believe(page, terms);
    await page.setInputFiles("#files", filesOf(v));
    await page.waitForFunction(() => document.querySelector("#pin-error").textContent !== "");
    assert.match(await page.textContent("#pin-error"), words);
    assert.equal(await page.getAttribute(`#${field}`, "aria-invalid"), "true");
    assert.equal(await page.isVisible("#result"), false);
    await page.close();
  }
});

test("whom a key succeeds", async (t) => {
  const v = await vector("witness/succession-committed");
  let page = await start(t);
  await believe(page, v);
  await give(page, filesOf(v));
  let { mark, text } = await succeeds(page);
  assert.equal(mark, "yes");
  assert.match(text, /It succeeds did:key:z6Mk.*after tick 14.*had chosen this one before 2027-01-15 08:00:03 UTC/);
  assert.match(await page.textContent(".names"), new RegExp(v.expect.did));
  assert.doesNotMatch(await page.textContent(".questions"), /not looked at/);
  // Without a policy nobody saw the choice.
  page = await start(t);
  await give(page, filesOf(v));
  ({ mark, text } = await succeeds(page));
  assert.equal(mark, "open");
  assert.match(text, /whoever stole it could have signed the same/);
  for (const name of ["not-signed-by-old", "not-signed-by-new", "cut", "other-successor", "other-genesis", "committed-other", "committed-unseen"]) {
    const v = await vector(`witness/succession-${name}`);
    page = await start(t);
    await believe(page, v);
    await give(page, filesOf(v));
    ({ mark, text } = await succeeds(page));
    assert.equal(mark, "invalid", name);
    assert.match(text, /shows nothing/, name);
    await page.close();
  }
});

test("who ran it: hand-overs in a list and in the picture", async (t) => {
  const v = await vector("handovers/three");
  const page = await start(t);
  await give(page, filesOf(v));
  const shown = await page.textContent("section.moves");
  assert.match(shown, /3 hand-overs between 3 nodes/);
  assert.equal(await page.locator(".move").count(), 3);
  assert.deepEqual(await page.locator(".move .nodes").allTextContents().then((all) => all.map((text) => text.match(/Node [A-Z]/g))), [["Node A", "Node B"], ["Node B", "Node C"], ["Node C", "Node A"]]);
  assert.match(await page.textContent(".legend"), /moved to another node/);
  assert.equal(await page.locator(".moves .mark.invalid").count(), 0);
  assert.doesNotMatch(await page.textContent(".questions"), /not looked at/);
  await page.locator(".move button", { hasText: "after tick" }).first().click();
  await page.waitForFunction((head) => document.querySelector("section[aria-labelledby=inspector]").textContent.includes(head), v.expect.handovers[0].head);
});

test("hand-overs that do not count are shown as that", async (t) => {
  for (const [name, words, counted] of [
    ["flipped-signature", /agent’s key did not sign it/, 0], ["flipped-countersignature", /is to have taken the agent did not sign it/, 0], ["number-twice", /given away twice/, 0],
    ["other-life", /another genesis/, 0], ["order", /later checkpoint/, 1], ["unknown-head", /was not given/, 0], ["cut-short", /not looked at/, undefined], ["one-byte-more", /not looked at/, undefined],
  ]) {
    const v = await vector(`handovers/${name}`);
    const page = await start(t);
    const verdict = await give(page, filesOf(v));
    assert.equal(verdict, { verified: "Unbroken", incomplete: "Incomplete", invalid: "Invalid" }[v.expect.verdict], name);
    assert.match(await page.textContent("section.moves"), words, name);
    assert.ok((await page.locator("section.moves .mark.invalid").count()) > 0, name);
    if (counted !== undefined) assert.ok((await page.locator(".move .mark.yes").count()) >= counted, name);
    await page.close();
  }
  const page = await start(t);
  assert.equal(await give(page, filesOf(await vector("handovers/none"))), "Unbroken");
  assert.equal(await page.locator("section.moves").count(), 0);
});

test("in an archive it is found as in a folder, and beside a CAR", async (t) => {
  const v = await vector("handovers/three");
  const checkpoints = v.checkpoints.map((text, i) => [`watcher/history/${i}.ckpt`, hex(text)]);
  const records = hex(v.handovers);
  const zip = (entries) => [{ name: "life.zip", mimeType: "", buffer: Buffer.from(zipSync(Object.fromEntries(entries))) }];
  for (const [what, entries, count] of [
    ["in its folder", [...checkpoints, ["watcher/handovers", records]], 3], ["at the top", [...checkpoints, ["handovers", records]], 3],
    ["deeper", [...checkpoints, ["a/b/handovers", records]], 0], ["beside a CAR", [["x/life.car", car(v.checkpoints.map(hex))], ["x/life.handovers", records]], 3],
    ["beside checkpoints under another name", [...checkpoints, ["other.handovers", records]], 0],
  ]) {
    const page = await start(t);
    assert.equal(await give(page, zip(entries)), "Unbroken", what);
    assert.equal(await page.locator(".move .mark.yes").count(), count, what);
    assert.equal(/not looked at.*hand-overs/.test(await page.textContent(".questions")), count === 0, what);
    await page.close();
  }
});

test("hostile files beside a history change no verdict and run nothing", async (t) => {
  const v = await vector("handovers/three");
  const name = "<img src=x onerror=alert(1)>\u202e.handovers";
  const cut = hex(v.handovers).subarray(1);
  const many = Buffer.concat(Array.from({ length: 400 }, (_, i) => {
    const record = hex(v.handovers).subarray(0, 313);
    record.writeBigUInt64LE(BigInt(i + 2), 145);
    return record;
  }));
  for (const [file, words] of [[{ name, buffer: cut }, /not looked at/], [{ name: "many.handovers", buffer: many }, /Show 50 more/], [{ name: "large.handovers", buffer: Buffer.alloc(21 << 20, 1) }, /not looked at/], [{ name: "succession", buffer: Buffer.alloc(1 << 20, 1) }, undefined]]) {
    const page = await start(t);
    assert.equal(await give(page, [...filesOf({ checkpoints: v.checkpoints }), { mimeType: "", ...file }]), "Unbroken");
    if (words) assert.match(await page.textContent("section.moves"), words);
    assert.equal(await page.locator("main img").count(), 0);
    assert.equal(await page.locator(".move .mark.yes").count(), 0);
    await page.close();
  }
});

test("a life that is found by its name brings its proof, its hand-overs, and a link says whose policy it is", async (t) => {
  const v = await vector("witness/head-good");
  const { tree, did } = await publish(v);
  const lives = await faulty(t, await igorServe(t, tree));
  const server = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, server.url);
  await believe(page, v);
  await page.fill("#find-what", did);
  await page.fill("#find-from", lives.url);
  await page.click("#find button");
  await page.waitForURL(/load\.html/);
  assert.match(await page.textContent("#ask-pins"), /Witnesses, named by you: a policy with 3 witnesses/);
  await page.click("#ask-yes");
  await page.waitForSelector("#verdict");
  assert.equal(await page.textContent("#verdict"), "Verified");
  assert.deepEqual(await seen(page).then(({ mark, text }) => [mark, text.includes(good)]), ["yes", true]);
  assert.ok(lives.requests.includes(`/igor/${did}/head.tlog-proof`));
  await page.evaluate(() => (navigator.clipboard.writeText = (text) => ((window.copied = text), Promise.resolve())));
  await page.click("text=Copy a link to this check");
  const other = await open(t, await page.evaluate(() => window.copied));
  assert.match(await other.textContent("#pin-policy-by"), /Named by the link, not by you/);
  assert.match(await other.textContent("#ask-pins"), /Witnesses, named by the link, not by you/);
  await other.click("#ask-yes");
  await other.waitForSelector("#verdict");
  assert.equal(await other.textContent("#verdict"), "Unbroken");
  const { mark, text } = await seen(other);
  assert.equal(mark, "open");
  assert.match(text, /Seen by 2 of 3 witnesses.*named by the link, not by you/);
  // A server that withholds the proof, or gives another one, shows nothing.
  for (const fault of [(response) => response.writeHead(404).end(), (response) => response.end("<html>"), (response) => response.end(v.proof.replace("index ", "index 1"))]) {
    const lying = await faulty(t, await igorServe(t, tree), (_, response, path) => path.endsWith(".tlog-proof") && (fault(response), true));
    const page = await open(t, `${server.url}/load.html?${new URLSearchParams({ did, from: lying.url, policy: v.policy, require: "" })}`);
    await page.click("#ask-yes");
    await page.waitForSelector("#verdict");
    assert.equal(await page.textContent("#verdict"), "Incomplete");
    assert.equal((await seen(page)).mark, "invalid");
  }
});

test("hand-overs come with a life that is found by its name", async (t) => {
  const v = await vector("handovers/three");
  const { tree, did } = await publish(v);
  const lives = await faulty(t, await igorServe(t, tree));
  const server = await serve(t, { "/": `${dist}/site` });
  const page = await open(t, `${server.url}/load.html?${new URLSearchParams({ did, from: lives.url })}`);
  await page.click("#ask-yes");
  await page.waitForSelector("section.moves");
  assert.match(await page.textContent("section.moves"), /3 hand-overs between 3 nodes/);
  assert.ok(!lives.requests.some((path) => path.includes("tlog-proof")), "proofs are asked for by nobody");
});
