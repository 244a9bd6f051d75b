// The pages in Chromium, in every state: axe-core finds nothing, and nothing is
// wider than the screen, covered or cut off.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, test } from "node:test";
import { close, dist, open, root, serve } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";

after(close);

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const histories = join(root, "testdata", "histories");

/** What the bytes of the inspector are in: many, and alike in every state. They are looked at in those states that differ. */
const grid = ".hex .grid";

/** What depends on the theme. */
const colours = { runOnly: { type: "rule", values: ["color-contrast"] } };

/** Holds the page to WCAG 2.2 AA, as far as a program can; of another theme, its colours. */
async function accessible(page, where, exclude, coloursOnly) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const everything = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], rules: { "target-size": { enabled: true } } };
  const { violations, passes } = await page.evaluate(([exclude, options]) => window.axe.run({ exclude }, { ...options, resultTypes: ["violations"] }), [
    exclude,
    coloursOnly ? colours : everything,
  ]);
  assert.ok(passes.some(({ id }) => id === "color-contrast"), `${where}: no contrast was looked at`);
  assert.ok(coloursOnly || passes.some(({ id }) => id === "target-size"), `${where}: no target was measured`);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join("; ")}`);
  assert.deepEqual(found, [], where);
}

async function fits(page, where) {
  const { scrollWidth, innerWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, innerWidth }));
  assert.ok(scrollWidth <= innerWidth, `${where} is ${scrollWidth} pixels wide in a window of ${innerWidth}`);
}

/** Every width with every theme, or each once, where a page is made of what others are made of. */
const combinations = { all: { 390: ["light", "dark"], 1280: ["light", "dark"] }, each: { 390: ["light"], 1280: ["dark"] } };

/** Looks at a state in both widths and both themes; it also has to fit where 1280 pixels are magnified by 2 and by 4. */
async function everywhere(page, where, { exclude = [grid], themes = combinations.all } = {}) {
  for (const width of [320, 640]) {
    await page.setViewportSize({ width, height: 900 });
    await fits(page, where);
  }
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 900 });
    await fits(page, where);
    for (const [i, colorScheme] of themes[width].entries()) {
      await page.emulateMedia({ colorScheme });
      await accessible(page, `${where}, ${width} pixels, ${colorScheme}`, exclude, i > 0);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
}

const server = await serve({ after }, { "/": `${dist}/site` });

const visit = (t, path = "", options) =>
  open(t, `${server.url}/${path}`, { viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });

async function verdict(page, expected) {
  await page.waitForFunction((expected) => document.getElementById("verdict")?.textContent === expected, expected);
  if (expected !== "No verdict") await page.waitForSelector(".verdict-line .mark");
}

const sample = (name, expected) => async (page) => {
  await page.click(`[data-sample="${name}"]`);
  await verdict(page, expected);
};
const give = (name, buffer, expected) => async (page) => {
  await page.setInputFiles("#files", { name, mimeType: "", buffer });
  await verdict(page, expected);
};

const specs = readdirSync(join(root, dist, "site", "specs")).filter((name) => name !== "index.html");
assert.ok(specs.length > 0);

for (const path of ["", "load.html", "ci.html", "specs/", ...specs.map((name) => `specs/${name}`)]) {
  const themes = /specs\/(?!checkpoint)./.test(path) ? combinations.each : combinations.all;
  test(`the page ${path || "index.html"}`, async (t) => everywhere(await visit(t, path), path, { themes }));
}

test("the page embed.html", async (t) => {
  const page = await visit(t, "embed.html");
  await page.waitForSelector("igor-lineage[state=verified]");
  await everywhere(page, "embed.html");
  await page.locator("igor-lineage button").click();
  await page.getByRole("dialog").waitFor();
  await everywhere(page, "embed.html, details");
  await page.keyboard.press("Escape");
  await page.setInputFiles("#folder", join(histories, "fork-01-merged"));
  await page.waitForSelector("igor-lineage[state=invalid]");
  await page.setInputFiles("#files", { name: "life.car", mimeType: "", buffer: Buffer.from("hello") });
  await page.waitForSelector("#said.failed");
  await page.fill("#src", "/1.ckpt /2.ckpt");
  await everywhere(page, "embed.html, the visitor's own history");
});

const states = {
  "verified": sample("whole.car", "Unbroken"),
  "verified, as expected": async (page) => {
    await page.click("#pins summary");
    await page.fill("#pin-did", "did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n");
    await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
    await verdict(page, "Verified");
  },
  "with a key beside it, by an older page": async (page) => {
    await page.evaluate(() => (document.querySelector('meta[name="igor-build"]').content = "of another day"));
    await page.setInputFiles("#folder", join(root, "testdata", "vectors", "kind-agent-folder"));
    await verdict(page, "Unbroken");
    await page.waitForSelector(".outdated");
  },
  "two keys": give("pile.car", car([...checkpoints(3), ...checkpoints(5)]), "Invalid"),
  "invalid": sample("tampered.zip", "Invalid"),
  "incomplete": sample("cut.car", "Incomplete"),
  "forked": sample("forked.zip", "Invalid"),
  "many problems": async (page) => {
    await page.setInputFiles("#folder", histories);
    await verdict(page, "Invalid");
    await page.click(".more");
  },
  "no checkpoint at all": give("letter.ckpt", Buffer.from("hello"), "Invalid"),
  "one checkpoint, with a state that is text": give("life.car", car(checkpoints(1, () => ({ state: Buffer.from("hello ".repeat(500)) }))), "Unbroken"),
  "no verdict": give("history.car", Buffer.from("hello"), "No verdict"),
  "files are dragged over it": async (page) => {
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["x"], "x.ckpt"));
      document.body.dispatchEvent(new DragEvent("dragenter", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForSelector(".drop.over");
  },
  "a wrong pin": async (page) => {
    await page.click("#pins summary");
    await page.fill("#pin-did", "did:key:nobody");
    await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
    await page.waitForSelector('#pin-did[aria-invalid="true"]');
  },
  "a changed byte": async (page) => {
    await sample("whole.car", "Unbroken")(page);
    await page.click('.hex [data-at="3"]');
    await page.keyboard.press("f");
    await page.keyboard.press("f");
    await page.waitForSelector(".verdict-line.invalid");
  },
};

for (const [name, act] of Object.entries(states)) {
  test(`the Verify page: ${name}`, async (t) => {
    const page = await visit(t);
    await act(page);
    await everywhere(page, name, { exclude: ["verified", "a changed byte"].includes(name) ? [] : [grid] });
  });
}

test("the Verify page: asking before it loads a link's history", async (t) => {
  const page = await visit(t, "load.html?history=https://agent.example/history.car&did=did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n");
  await page.waitForSelector("#ask:not([hidden])");
  assert.equal(await page.isVisible("#drop"), false);
  await everywhere(page, "the question");
  await page.click("#ask-no");
  assert.equal(await page.isVisible("#drop"), true);
});

test("the Verify page: a link whose server does not answer can be tried again", async (t) => {
  let up = false;
  const life = car(checkpoints(3));
  const other = await serve(t, { "/life.car": (_, response) => (up ? response.end(life) : response.destroy()) }, { headers: { "access-control-allow-origin": "*" } });
  const page = await visit(t, `load.html?history=${other.url}/life.car`, { expect: [/ERR_EMPTY_RESPONSE/] });
  await page.click("#ask-yes");
  await verdict(page, "No verdict");
  await everywhere(page, "not answered");
  up = true;
  await page.click("text=Try again");
  await verdict(page, "Unbroken");
});

test("the Verify page: at work", async (t) => {
  const life = car(checkpoints(3));
  let rest;
  const other = await serve(
    t,
    { "/life.car": (_, response) => { response.write(life.subarray(0, 300)); rest = () => response.end(life.subarray(300)); } },
    { headers: { "access-control-allow-origin": "*" } },
  );
  const page = await visit(t, `load.html?history=${other.url}/life.car`);
  await page.click("#ask-yes");
  await page.waitForSelector("#stop", { state: "visible" });
  assert.equal(await page.textContent("#live"), "Verifying");
  assert.equal(await page.evaluate(() => document.activeElement.id), "stop");
  await everywhere(page, "at work");
  rest();
  await verdict(page, "Unbroken");
  assert.match(await page.textContent("#live"), /^unbroken, self-asserted: 3 checkpoints/);
});

test("a chart that has yet to take the width of its place makes nothing wider", async (t) => {
  const page = await visit(t);
  await states.incomplete(page);
  // Before any observer has run.
  const { chart, width, scrollWidth } = await page.evaluate(() => {
    const section = document.querySelector("section:has(.plot)");
    section.style.width = "280px";
    return { chart: document.querySelector(".plot canvas").offsetWidth, width: section.clientWidth, scrollWidth: section.scrollWidth };
  });
  assert.ok(chart > width, `the chart has ${chart} pixels already`);
  assert.equal(scrollWidth, width);
});

test("texts may be spaced as a reader likes", async (t) => {
  const page = await visit(t);
  await page.evaluate(() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important } p { margin-bottom: 2em !important }");
    document.adoptedStyleSheets = [sheet];
  });
  for (const act of [() => {}, states.invalid]) {
    await act(page);
    for (const width of [320, 390, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      await fits(page, "spaced texts");
      const cut = await page.evaluate(() =>
        [...document.querySelectorAll("main *")]
          .filter((e) => e.checkVisibility() && !e.closest(".visually-hidden") && ["hidden", "clip"].includes(getComputedStyle(e).overflowY) && e.scrollHeight > e.clientHeight + 1)
          .map((e) => e.className),
      );
      assert.deepEqual(cut, [], `cut off at ${width} pixels`);
    }
  }
});

test("what has the focus is seen", async (t) => {
  const page = await visit(t);
  await states.invalid(page);
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 700 });
    await page.evaluate(() => document.getElementById("verdict").focus());
    const seen = new Set();
    for (;;) {
      await page.keyboard.press("Tab");
      const { key, covered, outline } = await page.evaluate(() => {
        const e = document.activeElement;
        const { left, top, width, height } = e.getBoundingClientRect();
        // Of what is larger than the window, some part has to be seen.
        const x = Math.min(Math.max(left + width / 2, 0), innerWidth - 1);
        const y = Math.min(Math.max(top + Math.min(height, innerHeight) / 2, 0), innerHeight - 1);
        const at = document.elementFromPoint(x, y);
        const { outlineStyle, outlineWidth } = getComputedStyle(e);
        return { key: e.id || `${e.localName} ${e.className} ${e.textContent.slice(0, 40)}`, covered: !(e.contains(at) || at?.contains(e)), outline: outlineStyle !== "none" && outlineWidth !== "0px" };
      });
      if (key.startsWith("body") || key.startsWith("a brand") || seen.size > 100) break;
      assert.ok(!covered, `${key} is covered at ${width} pixels`);
      assert.ok(outline, `${key} shows no focus`);
      seen.add(key);
    }
    assert.ok(seen.size > 10 && seen.size <= 100, `${seen.size} places have the focus`);
  }
});
