import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, dist, open, root, serve, strictPolicy } from "./browser.mjs";

after(close);

const headers = { "content-security-policy": strictPolicy };
const vectors = (name) => `/vectors/${name}`;

/** Serves a page with the badge's two lines, and the histories. */
function site(t, body, more = {}) {
  return serve(
    t,
    {
      "/page": `<!doctype html><html lang="en"><title>test</title>
<main><h1>Agents</h1>
${body}
</main>
<script type="module" src="/npm/igor-lineage.js"></script>`,
      "/npm/": `${dist}/npm`,
      "/vectors/": "testdata/vectors",
      "/histories/": "testdata/histories",
      ...more,
    },
    { headers },
  );
}

async function life(name) {
  const files = (await readdir(join(root, "testdata/histories", name))).filter((file) => file.endsWith(".ckpt"));
  assert.ok(files.length > 0);
  return files.map((file) => `/histories/${name}/${file}`).join(" ");
}

/** Waits until no badge is loading and returns what each says. */
function settled(page) {
  return page.evaluate(async () => {
    await customElements.whenDefined("igor-lineage");
    const badges = [...document.querySelectorAll("igor-lineage")];
    while (badges.some((badge) => badge.state === "loading")) await new Promise((resolve) => setTimeout(resolve, 10));
    return badges.map((badge) => ({
      state: badge.state,
      text: badge.shadowRoot.querySelector("button").textContent.replace(/\s+/g, " ").trim(),
    }));
  });
}

const good = vectors("car-good/history.car");
const goodDID = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";

test("every state, under a strict policy", async (t) => {
  const real = await life("heartbeat-01");
  const otherDID = "did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n";
  const server = await site(
    t,
    `<igor-lineage src="${real}">the life of an agent</igor-lineage>
<igor-lineage src="${good}" did="${goodDID}"></igor-lineage>
<igor-lineage src="${vectors("car-missing-genesis/history.car")}"></igor-lineage>
<igor-lineage src="${vectors("car-gap/history.car")}" did="${goodDID}"></igor-lineage>
<igor-lineage src="${vectors("car-bad-signature-middle/history.car")}" did="${goodDID}"></igor-lineage>
<igor-lineage src="${good}" did="${otherDID}"></igor-lineage>
<igor-lineage src="${vectors("car-two-agents/history.car")}"></igor-lineage>
<igor-lineage src="${vectors("car-refused-flipped-bit/history.car")}"></igor-lineage>
<igor-lineage src="${good}" did="nobody"></igor-lineage>
<igor-lineage></igor-lineage>`,
  );
  const page = await open(t, server.url + "/page");
  const badges = await settled(page);
  assert.deepEqual(badges, [
    { state: "verified", text: "agent lineage: unbroken, 16 checkpoints, no gaps, by z6Mks…vDs6n, self-asserted" },
    { state: "verified", text: "agent lineage: verified, the expected agent, 4 checkpoints, no gaps" },
    { state: "incomplete", text: "agent lineage: incomplete, 3 checkpoints, its beginning is missing, by z6Mkn…1bwgk, self-asserted" },
    { state: "incomplete", text: "agent lineage: incomplete, 3 checkpoints, a gap" },
    { state: "invalid", text: "agent lineage: invalid, a bad signature at tick 9" },
    { state: "invalid", text: "agent lineage: invalid, another identity at tick 4" },
    { state: "invalid", text: "agent lineage: invalid, another identity at tick 5, by 2 keys" },
    { state: "error", text: "agent lineage: could not be checked" },
    { state: "error", text: "agent lineage: could not be checked" },
    { state: "error", text: "agent lineage: could not be checked" },
  ]);
  // Each state has a shape and a colour of its own, and the colour is readable.
  const looks = await page.evaluate(() =>
    [...document.querySelectorAll("igor-lineage")].map(({ shadowRoot }) => ({
      text: shadowRoot.querySelector(".state").textContent,
      shape: shadowRoot.querySelector("svg").innerHTML,
      color: getComputedStyle(shadowRoot.querySelector(".state")).color,
    })),
  );
  const all = new Map(looks.map((look) => [look.text, look]));
  assert.deepEqual([...all.keys()], ["unbroken", "verified", "incomplete", "invalid", "could not be checked"]);
  assert.equal(new Set([...all.values()].map(({ shape }) => shape)).size, 5);
  assert.equal(new Set([...all.values()].map(({ color }) => color)).size, 5);
  // One pool for all: the WASM was fetched once.
  assert.equal(server.requests.filter((path) => path.startsWith("/npm/igor-verify.wasm.gz")).length, 1);
});

test("events, properties and attributes", async (t) => {
  const server = await site(t, "");
  const page = await open(t, server.url + "/page");
  const seen = await page.evaluate(
    async ({ good, goodDID }) => {
      await customElements.whenDefined("igor-lineage");
      const next = (name) => new Promise((resolve) => document.addEventListener(name, resolve, { once: true }));
      const badge = document.createElement("igor-lineage");
      badge.src = good;
      const seen = [badge.getAttribute("src"), badge.state];
      let event = next("igor-lineage-report");
      document.querySelector("main").append(badge);
      const { report, target } = await event;
      seen.push(target === badge && badge.report === report, report.verdict, report.identity);
      event = next("igor-lineage-report");
      badge.did = goodDID;
      await Promise.resolve();
      seen.push(badge.state, badge.report, (await event).report.identity);
      event = next("igor-lineage-error");
      badge.head = "not a CID";
      seen.push((await event).error.code, badge.error.message, badge.getAttribute("state"));
      badge.remove();
      badge.removeAttribute("head");
      return seen;
    },
    { good, goodDID },
  );
  assert.deepEqual(seen, [
    good,
    "loading",
    true,
    "verified",
    "self-asserted",
    "loading",
    undefined,
    "pinned",
    "bad-pin",
    "not a checkpoint CID: want 59 characters that begin with bafkrei (CIDv1, raw, sha2-256, base32 lower case)",
    "error",
  ]);
});

test("the details, by keyboard alone", async (t) => {
  const src = vectors("car-bad-signature-middle/history.car");
  const server = await site(t, `<igor-lineage src="${src}"></igor-lineage>`);
  const page = await open(t, server.url + "/page");
  await settled(page);
  const badge = page.locator("igor-lineage");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.localName), "igor-lineage");
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "agent lineage: invalid" });
  await dialog.waitFor();
  const text = await dialog.innerText();
  for (const part of ["bad-signature", "at tick 9", "the signature does not fit the content", goodDID, "must not be relied on"]) {
    assert.ok(text.includes(part), `${part} is not in ${text}`);
  }
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save report" }).focus();
  await page.keyboard.press("Enter");
  assert.equal((await download).suggestedFilename(), "igor-lineage-report.json");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(await badge.evaluate((badge) => badge.shadowRoot.activeElement?.localName), "button");
});

test("what could be meant as a pin and is none is an error", async (t) => {
  const otherDID = "did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n";
  const cid = "bafkreigze7a6jh3db3lz3ht4biwtavxocuaiyx5v2anksk4uaqkir7ojui";
  const refused = {
    'did=""': /did has no value/,
    "did": /did has no value/,
    'did=" "': /did has no value/,
    'head=""': /head has no value/,
    'pinned': /there is no did/,
    [`dids="${goodDID}"`]: /no attribute dids/,
    [`agent="${goodDID}"`]: /no attribute agent/,
    [`hed="${cid}"`]: /no attribute hed/,
    [`:did="agent.did"`]: /no attribute :did/,
    [`[head]="agent.head"`]: /no attribute \[head\]/,
    [`data-did="${goodDID}"`]: /no attribute data-did/,
    [`did="${goodDID}" heads="${cid}"`]: /no attribute heads/,
    [`did="undefined"`]: /DID/,
    [`timeout="soon"`]: /timeout/,
    [`refresh="-1"`]: /refresh/,
    [`verifier="javascript:alert(1)"`]: /verifier/,
  };
  const fine = [`did="${goodDID}" data-did="${goodDID}"`, `id="${goodDID}" title="${otherDID}" class="head" data-agent="${goodDID}"`, `pinned did="${goodDID}"`, ""];
  const server = await site(t, [...Object.keys(refused), ...fine].map((attributes) => `<igor-lineage src="${good}" ${attributes}></igor-lineage>`).join("\n"));
  const page = await open(t, server.url + "/page");
  const states = (await settled(page)).map(({ state }) => state);
  assert.deepEqual(states, [...Object.keys(refused).map(() => "error"), ...fine.map(() => "verified")]);
  const messages = await page.evaluate(() => [...document.querySelectorAll("igor-lineage")].map(({ error }) => error?.message));
  Object.values(refused).forEach((pattern, i) => assert.match(messages[i], pattern));
});

test("a framework's binding without a value is an error", async (t) => {
  const server = await site(t, "");
  const page = await open(t, server.url + "/page");
  const bindings = await page.evaluate(
    async ({ good, goodDID }) => {
      const early = document.createElement("igor-lineage");
      Object.assign(early, { src: good, did: undefined });
      await customElements.whenDefined("igor-lineage");
      const settle = async (badge) => {
        if (!badge.isConnected) document.querySelector("main").append(badge);
        await Promise.resolve();
        while (badge.state === "loading") await new Promise((resolve) => setTimeout(resolve, 10));
        return badge.state;
      };
      const made = (values) => Object.assign(document.createElement("igor-lineage"), { src: good, ...values });
      const bound = [];
      // As React 19 and Svelte set properties.
      for (const value of [undefined, null, ""]) bound.push(await settle(made({ did: value })), await settle(made({ head: value })));
      bound.push(await settle(made({ pinned: "" })));
      // As Vue unsets a property that was a string: it empties it, and removes the attribute.
      const badge = made({ did: goodDID });
      bound.push(await settle(badge));
      badge.did = "";
      badge.removeAttribute("did");
      bound.push(await settle(badge));
      badge.did = goodDID;
      bound.push(await settle(badge), badge.report.identity);
      badge.removeAttribute("did"); // a page that means it
      bound.push(await settle(badge), badge.report.identity);
      // Before the element was defined.
      bound.push(await settle(early));
      return bound;
    },
    { good, goodDID },
  );
  assert.deepEqual(bindings, [...Array(7).fill("error"), "verified", "error", "verified", "pinned", "verified", "self-asserted", "error"]);
});

/** Answers with a history, as long as there is no fault, and counts. */
async function host({ fault = () => undefined } = {}) {
  const bytes = await readFile(join(root, "testdata/vectors/car-good/history.car"));
  const seen = { requests: 0, unchanged: 0, closed: 0, etag: '"1"', bytes };
  const answer = (request, response) => {
    seen.requests++;
    response.on("close", () => seen.closed++);
    if (fault(seen, response)) return;
    response.setHeader("etag", seen.etag);
    if (request.headers["if-none-match"] === seen.etag) {
      seen.unchanged++;
      return response.writeHead(304).end();
    }
    response.setHeader("content-type", "application/vnd.ipld.car");
    response.end(seen.bytes);
  };
  return { seen, answer };
}

test("badges of one address share a request", async (t) => {
  const { seen, answer } = await host();
  const badges = [...Array(20).fill(""), `did="${goodDID}"`].map((pin) => `<igor-lineage src="/life.car" ${pin}></igor-lineage>`);
  const server = await site(t, badges.join(""), { "/life.car": answer });
  const page = await open(t, server.url + "/page");
  assert.deepEqual(new Set((await settled(page)).map(({ state }) => state)), new Set(["verified"]));
  assert.equal(seen.requests, 1);
});

test("two hundred badges are all checked", async (t) => {
  const { seen, answer } = await host();
  const badges = Array.from({ length: 200 }, (_, i) => `<igor-lineage src="/life${i % 3}.car"></igor-lineage>`);
  const server = await site(t, badges.join(""), { "/life0.car": answer, "/life1.car": answer, "/life2.car": answer });
  const page = await open(t, server.url + "/page");
  assert.deepEqual(new Set((await settled(page)).map(({ state }) => state)), new Set(["verified"]));
  assert.equal(seen.requests, 3);
});

test("a badge that asks again holds to nothing that is there no more, or does not come", async (t) => {
  const slow = new Set();
  const drip = (_, response) => {
    response.writeHead(200, { "content-type": "application/vnd.ipld.car" }).flushHeaders();
    const timer = setInterval(() => response.write("x"), 100);
    slow.add(response);
    response.on("close", () => (clearInterval(timer), slow.delete(response)));
    return true;
  };
  const faults = [404, 410, 206].map((status) => (seen, response) => response.writeHead(status, { etag: seen.etag }).end());
  const hosts = await Promise.all([...faults, drip].map((fault) => host({ fault: (seen, response) => seen.late && fault(seen, response) })));
  const names = hosts.map((_, i) => `/life${i}.car`);
  const server = await site(t, names.map((name) => `<igor-lineage src="${name}" refresh="0.2" timeout="2"></igor-lineage>`).join(""), Object.fromEntries(hosts.map(({ answer }, i) => [names[i], answer])));
  const page = await open(t, server.url + "/page", { expect: [/404/, /410/] });
  assert.deepEqual(new Set((await settled(page)).map(({ state }) => state)), new Set(["verified"]));
  await page.evaluate(() => {
    window.said = [...document.querySelectorAll("igor-lineage")].map(() => []);
    for (const [i, badge] of document.querySelectorAll("igor-lineage").entries()) new MutationObserver(() => window.said[i].push(badge.state)).observe(badge, { attributeFilter: ["state"] });
  });
  for (const { seen } of hosts) seen.late = true;
  for (const i of hosts.keys()) await page.waitForFunction((i) => document.querySelectorAll("igor-lineage")[i].state === "error", i);
  assert.deepEqual([...new Set((await page.evaluate(() => window.said))[3])].slice(0, 2), ["loading", "error"]);
  await page.evaluate(() => document.querySelectorAll("igor-lineage").forEach((badge) => badge.remove()));
  while (slow.size > 0) await page.waitForTimeout(20); // the requests end too
});

test("a badge asks again, by ETag, and says so only when something changed", async (t) => {
  const { seen, answer } = await host();
  const server = await site(t, `<igor-lineage src="/life.car" refresh="0.2"></igor-lineage>`, { "/life.car": answer });
  const page = await open(t, server.url + "/page");
  await page.evaluate(() => {
    window.reports = [];
    document.addEventListener("igor-lineage-report", ({ report }) => window.reports.push(report.checkpoints));
    document.addEventListener("igor-lineage-error", ({ error }) => window.reports.push(error.message));
  });
  await settled(page);
  while (seen.unchanged < 2) await page.waitForTimeout(50);
  seen.bytes = await readFile(join(root, "testdata/vectors/car-missing-genesis/history.car"));
  seen.etag = '"2"';
  await page.waitForSelector("igor-lineage[state=incomplete]");
  const before = seen.unchanged;
  while (seen.unchanged < before + 2) await page.waitForTimeout(50);
  assert.deepEqual((await page.evaluate(() => window.reports)).slice(-1), [3]);
  assert.ok((await page.evaluate(() => window.reports)).length <= 2);
});

test("a failure of the network is tried again, and others are not", async (t) => {
  const ill = await host({ fault: (seen, response) => seen.requests <= 2 && response.writeHead(503).end() });
  const gone = await host({ fault: (_, response) => response.writeHead(404).end() });
  const server = await site(t, `<igor-lineage src="/ill.car"></igor-lineage><igor-lineage src="/gone.car"></igor-lineage>`, { "/ill.car": ill.answer, "/gone.car": gone.answer });
  const page = await open(t, server.url + "/page", { expect: [/503/, /404/] });
  assert.deepEqual((await settled(page)).map(({ state }) => state), ["verified", "error"]);
  assert.equal(ill.seen.requests, 3);
  assert.equal(gone.seen.requests, 1);
  // By hand too.
  await page.locator("igor-lineage").nth(1).click();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.waitForFunction(() => document.querySelectorAll("igor-lineage")[1].state === "error");
  while (gone.seen.requests < 2) await page.waitForTimeout(20);
});

test("a verifier that did not come is tried again", async (t) => {
  const gzip = await readFile(join(root, dist, "npm", "igor-verify.wasm.gz"));
  let requests = 0;
  const server = await site(t, `<igor-lineage src="${good}"></igor-lineage>`, {
    "/npm/igor-verify.wasm.gz": (_, response) => {
      response.setHeader("content-length", gzip.length);
      if (++requests > 1) return response.end(gzip);
      response.write(gzip.subarray(0, 1000), () => response.destroy());
    },
  });
  const page = await open(t, server.url + "/page", { expect: [/ERR_CONTENT_LENGTH_MISMATCH/] });
  assert.equal((await settled(page))[0].state, "verified");
  assert.equal(requests, 2);
});

test("a badge gives up when nothing comes", async (t) => {
  const silent = await host({ fault: () => true });
  const stuck = await host({ fault: (_, response) => response.writeHead(200, { "content-length": "100000" }).write("x".repeat(100)) });
  const server = await site(t, `<igor-lineage src="${good}"></igor-lineage>`, { "/silent.car": silent.answer, "/stuck.car": stuck.answer });
  const page = await open(t, server.url + "/page");
  await settled(page); // the verifier is there, and they ask at once
  await page.evaluate(() => document.body.insertAdjacentHTML("beforeend", `<igor-lineage src="/silent.car" timeout="2"></igor-lineage><igor-lineage src="/stuck.car" timeout="2"></igor-lineage>`));
  assert.deepEqual((await settled(page)).map(({ state }) => state), ["verified", "error", "error"]);
  const errors = await page.evaluate(() => [...document.querySelectorAll("igor-lineage")].slice(1).map(({ error }) => [error.code, error.problem]));
  assert.deepEqual(errors[0], ["unreadable", "next to nothing came for 2 seconds"]);
  assert.deepEqual([silent.seen.requests, stuck.seen.requests], [1, 1]);
  while (silent.seen.closed + stuck.seen.closed < 2) await page.waitForTimeout(20); // the requests end too
});

test("the details lead to another verifier, and pin nothing there", async (t) => {
  const server = await site(
    t,
    `<igor-lineage src="${good}" did="${goodDID}"></igor-lineage>
<igor-lineage src="${good}" verifier="/check/"></igor-lineage>
<igor-lineage src="${good} ${good}" verifier="https://verify.example/"></igor-lineage>`,
  );
  const page = await open(t, server.url + "/page");
  await settled(page);
  const links = await page.evaluate(() =>
    [...document.querySelectorAll("igor-lineage")].map((badge) => {
      badge.showDetails();
      const { href, rel, textContent } = badge.shadowRoot.querySelector("dialog a");
      badge.shadowRoot.querySelector("dialog").close();
      return [href, rel, textContent];
    }),
  );
  const history = encodeURIComponent(server.url + good);
  const host = new URL(server.url).host;
  assert.deepEqual(links, [
    [`https://igor.dev/load.html?history=${history}`, "noopener noreferrer", "Check it yourself at igor.dev"],
    [`${server.url}/check/load.html?history=${history}`, "noopener noreferrer", `Check it yourself at ${host}`],
    ["https://verify.example/", "noopener noreferrer", "Check it yourself at verify.example"],
  ]);
});

for (const [what, directive, workers] of [
  ["enforced", "require-trusted-types-for 'script'", true],
  ["with the policy named", "require-trusted-types-for 'script'; trusted-types igor-verify", true],
  ["without any policy", "require-trusted-types-for 'script'; trusted-types 'none'", false],
]) {
  test(`Trusted Types ${what}`, async (t) => {
    const server = await serve(
      t,
      {
        "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/npm/igor-lineage.js"></script><igor-lineage src="${good}"></igor-lineage>`,
        "/npm/": `${dist}/npm`,
        "/vectors/": "testdata/vectors",
      },
      { headers: { "content-security-policy": `${strictPolicy}; ${directive}` } },
    );
    const page = await open(t, server.url + "/page", workers ? {} : { expect: [/TrustedTypePolicy|trusted-types/, /./] });
    assert.deepEqual(await settled(page), [{ state: "verified", text: `agent lineage: unbroken, 4 checkpoints, no gaps, by ${goodDID.slice(8, 13)}…${goodDID.slice(-5)}, self-asserted` }]);
    await page.locator("igor-lineage").click();
    await page.getByRole("dialog").waitFor();
    assert.equal(page.workers().length > 0, workers);
  });
}

test("names that hide or turn text are shown as they are", async (t) => {
  const short = (_, response) => response.end("\x04short");
  const name = "a\u202egpj\u200b<b>.ckpt";
  const server = await site(t, `<igor-lineage src="/${encodeURIComponent(name)}"></igor-lineage>`, { [`/${name}`]: short });
  const page = await open(t, server.url + "/page");
  assert.equal((await settled(page))[0].state, "invalid");
  await page.locator("igor-lineage").click();
  const text = await page.getByRole("dialog").innerText();
  assert.ok(text.includes("a\\u202egpj\\u200b<b>.ckpt"), text);
});

test("another language", async (t) => {
  const server = await site(t, `<div lang="de-AT"><igor-lineage src="${good}"></igor-lineage></div>`);
  const page = await open(t, server.url + "/page");
  await settled(page);
  await page.evaluate(async () => {
    const { english, IgorLineageElement } = await import("/npm/element.js");
    IgorLineageElement.localize("de", {
      ...english,
      lineage: "Lebenslauf des Agenten",
      states: { ...english.states, unbroken: "lückenlos" },
      checkpoints: { one: "{n} Sicherungspunkt", other: "{n} Sicherungspunkte" },
      noGaps: "ohne Lücken",
      by: "von {did}, nach eigener Angabe",
    });
  });
  assert.deepEqual(await settled(page), [
    { state: "verified", text: "Lebenslauf des Agenten: lückenlos, 4 Sicherungspunkte, ohne Lücken, von z6Mkn…1bwgk, nach eigener Angabe" },
  ]);
});

test("a lazy badge waits until it comes into view", async (t) => {
  const server = await site(t, `<div id="tall"></div><igor-lineage src="${good}" loading="lazy"></igor-lineage>`, {
    "/page.css": "#tall { height: 5000px; }",
  });
  const page = await open(t, server.url + "/page", {
    init: () => addEventListener("DOMContentLoaded", () => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync("#tall { height: 5000px; }");
      document.adoptedStyleSheets = [sheet];
    }),
  });
  await page.waitForFunction(() => customElements.get("igor-lineage"));
  await page.waitForTimeout(300);
  assert.ok(!server.requests.includes(good));
  await page.locator("igor-lineage").scrollIntoViewIfNeeded();
  assert.equal((await settled(page))[0].state, "verified");
});

test("without JavaScript, the text in the element", async (t) => {
  const server = await serve(t, { "/page": `<!doctype html><html lang="en"><title>test</title><igor-lineage src="x.car">verify x.car</igor-lineage>` }, { headers });
  const page = await open(t, server.url + "/page");
  assert.equal(await page.locator("igor-lineage").innerText(), "verify x.car");
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe-core finds nothing, ${colorScheme}`, async (t) => {
    const names = ["car-good", "car-gap", "car-bad-signature-middle", "car-refused-flipped-bit"];
    const badges = names.map((name) => `<p><igor-lineage src="${vectors(`${name}/history.car`)}"></igor-lineage></p>`).join("\n");
    const server = await site(t, badges);
    const page = await open(t, server.url + "/page", { colorScheme, init: () => {
      addEventListener("DOMContentLoaded", () => {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(":root { color-scheme: light dark; }");
        document.adoptedStyleSheets = [sheet];
      });
    } });
    await settled(page);
    // Through the debugger, so that the page's policy need not allow it.
    const axe = createRequire(import.meta.url)("axe-core").source;
    await page.evaluate(axe);
    const run = () => page.evaluate(async () => {
      const { violations } = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
    });
    assert.deepEqual(await run(), []);
    for (let i = 0; i < names.length; i++) {
      await page.locator("igor-lineage").nth(i).click();
      await page.getByRole("dialog").waitFor();
      assert.deepEqual(await run(), []);
      await page.keyboard.press("Escape");
    }
  });
}
