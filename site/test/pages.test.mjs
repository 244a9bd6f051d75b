// The pages in Chromium: what a visitor does, and what must not happen.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";
import { asPhone, close, dist, open, root, serve } from "./browser.mjs";
import { checkpoints } from "./life.mjs";
import { tarball } from "./tar.mjs";
import { igorVerify } from "./vectors.mjs";

after(close);

const histories = join(root, "testdata", "histories");
const site = { "/": `${dist}/site` };

/** A folder that is removed after the test. */
async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), "igor-pages-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Opens a page, and waits until it has loaded all that it keeps for later. */
async function visit(t, url, options) {
  const page = await open(t, url, options);
  await page.evaluate(() => navigator.serviceWorker.ready);
  return page;
}

async function verdict(page) {
  await page.waitForSelector("#verdict");
  return page.textContent("#verdict");
}

test("badge and pages have the same shapes", async (t) => {
  const blank = '<!doctype html><html lang="en"><title>badges</title>';
  const server = await serve(t, { ...site, "/npm/": `${dist}/npm`, "/vectors/": "testdata/vectors", "/blank": blank });
  const page = await open(t, `${server.url}/blank`);
  const shapes = await page.evaluate(async () => {
    const layout = new DOMParser().parseFromString(await (await fetch("/index.html")).text(), "text/html");
    const { IgorLineageElement } = await import("/npm/element.js");
    customElements.define("igor-lineage", IgorLineageElement);
    const histories = { verified: "car-good", unbroken: "car-good", incomplete: "car-gap", invalid: "car-bad-signature-middle", error: "car-refused-flipped-bit" };
    const shapes = {};
    for (const [state, vector] of Object.entries(histories)) {
      const badge = new IgorLineageElement();
      badge.src = `/vectors/${vector}/history.car`;
      if (state === "verified") badge.did = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";
      document.body.append(badge);
      while (badge.state === "loading") await new Promise((resolve) => setTimeout(resolve, 10));
      if (badge.state !== (state === "unbroken" ? "verified" : state)) throw new Error(`${vector}: ${badge.state}`);
      shapes[state] = [badge.shadowRoot.querySelector("svg").innerHTML, layout.getElementById(`mark-${state}`).innerHTML];
    }
    return shapes;
  });
  for (const [state, [badge, page]] of Object.entries(shapes)) assert.equal(badge, page, state);
});

test("nothing has the colour of a verdict before there is one", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const coloured = () =>
    page.evaluate(() => {
      const colours = ["verified", "unbroken", "incomplete", "invalid"].map((verdict) => {
        const probe = document.createElement("i");
        probe.className = `mark ${verdict}`;
        document.body.append(probe);
        const { color } = getComputedStyle(probe);
        probe.remove();
        return color;
      });
      return [...document.querySelectorAll("main *")].filter((element) => element.checkVisibility() && colours.includes(getComputedStyle(element).color)).length;
    });
  assert.equal(await coloured(), 0);
  await page.click('[data-sample="whole.car"]');
  await verdict(page);
  assert.notEqual(await coloured(), 0);
});

test("a dropped folder has the report and the badge that igor-verify writes", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const name = await page.evaluate(() => document.getElementById("build").textContent);
  const verify = await igorVerify(t, name);
  const cdp = await page.context().newCDPSession(page);
  for (const history of ["liquidation-02", "heartbeat-03-B-only", "mut-missing-mid", "fork-01-merged", "small-order-key", "v2-single-zeroed"]) {
    await page.goto(server.url);
    const data = { items: [], files: [join(histories, history)], dragOperationsMask: 1 };
    const at = { x: 400, y: 500, data };
    await cdp.send("Input.dispatchDragEvent", { type: "dragEnter", ...at });
    await cdp.send("Input.dispatchDragEvent", { type: "dragOver", ...at });
    assert.deepEqual([await page.isVisible("#drop-title"), await page.textContent("#drop-held")], [false, "Let go to verify"]);
    await cdp.send("Input.dispatchDragEvent", { type: "drop", ...at });
    await verdict(page);
    for (const [button, format] of [["Save the report", "json"], ["Save the badge", "svg"]]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(`text=${button}`)]);
      const { stdout } = await verify(histories, "--format", format, history);
      assert.equal(await readFile(await download.path(), "utf8"), stdout, `${history}, ${format}`);
    }
  }
});

test("a dropped folder with nothing in it is no verdict, also beside a good one", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const cdp = await page.context().newCDPSession(page);
  const dir = await folder(t);
  await mkdir(join(dir, "empty"));
  for (const files of [[join(histories, "heartbeat-01")], [join(histories, "heartbeat-01"), join(dir, "empty")], [join(dir, "empty"), join(histories, "heartbeat-01")]]) {
    await page.goto(server.url);
    for (const type of ["dragEnter", "dragOver", "drop"]) await cdp.send("Input.dispatchDragEvent", { type, x: 400, y: 500, data: { items: [], files, dragOperationsMask: 1 } });
    assert.equal(await verdict(page), files.length > 1 ? "No verdict" : "Unbroken");
  }
});

const history = ({ notLookedAt, ...report }) => report;

test("files, folders and archives come to the same report", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const dir = await folder(t);
  const names = ["0000000004", "0000000009", "0000000014", "0000000016"].map((name) => `${name}.ckpt`);
  const files = {};
  for (const name of names) files[name] = await readFile(join(histories, "fork-01-merged", name));
  const tar = tarball(files);
  await cp(join(histories, "fork-01-merged"), join(dir, "life"), { recursive: true, filter: (path) => !path.endsWith(".ckpt") || names.some((name) => path.endsWith(name)) });
  await writeFile(join(dir, "life.zip"), zipSync({ ...files, "notes.txt": strToU8("not a checkpoint") }));
  await writeFile(join(dir, "stored.zip"), zipSync(files, { level: 0 }));
  await writeFile(join(dir, "life.tar"), tar);
  await writeFile(join(dir, "life.tar.gz"), gzipSync(tar));
  const inputs = [
    ["#files", names.map((name) => join(dir, "life", name))],
    ["#folder", join(dir, "life")],
    ...["life.zip", "stored.zip", "life.tar", "life.tar.gz"].map((name) => ["#files", join(dir, name)]),
  ];
  const reports = [];
  for (const [input, paths] of inputs) {
    await page.goto(server.url);
    await page.setInputFiles(input, paths);
    assert.equal(await verdict(page), "Unbroken", String(paths));
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Save the report")]);
    reports.push(JSON.parse(await readFile(await download.path(), "utf8")));
  }
  // All say the same of the history; what lay with it is another matter.
  const others = reports.map(({ notLookedAt, ...report }) => (assert.deepEqual(report, history(reports[0])), notLookedAt));
  assert.deepEqual(others, [
    undefined,
    [{ kind: "text", files: 1, name: "EXPECT.json" }],
    [{ kind: "text", files: 1, name: "notes.txt" }],
    undefined, undefined, undefined,
  ]);
});

test("the page looks up few of many files on the disk at a time", async (t) => {
  const server = await serve(t, site);
  const dir = await folder(t);
  const paths = checkpoints(600).map((_, i) => join(dir, `${i}.ckpt`));
  for (const [i, data] of checkpoints(600).entries()) await writeFile(paths[i], data);
  const page = await visit(t, server.url, {
    // To ask for a file's size is slow on slow disks, and all else on the page waits.
    init: () => {
      const { get } = Object.getOwnPropertyDescriptor(Blob.prototype, "size");
      window.most = window.asked = 0;
      let now = 0; // in this task
      const channel = new MessageChannel();
      channel.port1.onmessage = () => (now = 0);
      Object.defineProperty(Blob.prototype, "size", {
        get() {
          if (this instanceof File) {
            if (now++ === 0) channel.port2.postMessage(0);
            window.asked++;
            window.most = Math.max(window.most, now);
            for (const start = performance.now(); performance.now() - start < 1; );
          }
          return get.call(this);
        },
      });
    },
  });
  for (const [input, given] of [["#folder", dir], ["#files", paths]]) {
    await page.evaluate(() => (window.most = window.asked = 0));
    await page.setInputFiles(input, given);
    assert.equal(await verdict(page), "Unbroken");
    const { most, asked } = await page.evaluate(() => ({ most: window.most, asked: window.asked }));
    assert.ok(asked >= 600, `${asked} sizes were asked for`);
    assert.ok(most < 64, `${most} sizes were asked for in one task, in ${input}`);
    await page.click("text=Verify another");
  }
});

test("while many files are read, the page says how many there are, and what would be faster", async (t) => {
  const server = await serve(t, site);
  const dir = await folder(t);
  const life = checkpoints(600);
  const paths = life.map((_, i) => join(dir, `${i}.ckpt`));
  for (const [i, data] of life.entries()) await writeFile(paths[i], data);
  const page = await visit(t, server.url, {
    // On a clock as fast as this, it all takes minutes.
    init: () => {
      const now = performance.now.bind(performance);
      performance.now = () => now() * 1000;
    },
  });
  await page.evaluate(() => {
    window.said = { "busy-count": new Set(), "busy-left": new Set(), "busy-hint": new Set() };
    for (const [id, texts] of Object.entries(window.said)) {
      const place = document.getElementById(id);
      new MutationObserver(() => texts.add(place.textContent)).observe(place, { childList: true });
    }
  });
  for (const [input, given] of [["#folder", dir], ["#files", paths]]) {
    await page.evaluate(() => Object.values(window.said).forEach((texts) => texts.clear()));
    await page.setInputFiles(input, given);
    assert.equal(await verdict(page), "Unbroken");
    const said = await page.evaluate(() => Object.values(window.said).map((texts) => [...texts].join("\n")));
    for (const [i, pattern] of [/^\d+ of 600 checkpoints$/m, /^about \d+ (second|minute)s? left$/m, /As one \.car, the same history takes seconds/].entries()) {
      assert.match(said[i], pattern, input);
    }
    await page.click("text=Verify another");
  }
});

test("links, and what is no file, in a folder", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const dir = await folder(t);
  const cdp = await page.context().newCDPSession(page);
  const ways = {
    dropped: async (path) => {
      for (const type of ["dragEnter", "dragOver", "drop"]) {
        await cdp.send("Input.dispatchDragEvent", { type, x: 400, y: 400, data: { items: [], files: [path], dragOperationsMask: 1 } });
      }
    },
    chosen: (path) => page.setInputFiles("#folder", path),
  };
  const life = checkpoints(3);
  await mkdir(join(dir, "elsewhere"));
  await writeFile(join(dir, "elsewhere", "2.ckpt"), life[2]);
  const last = {
    "a link to a file": (path) => symlink(join(dir, "elsewhere", "2.ckpt"), path),
    "a link to a folder": (path) => symlink(join(dir, "elsewhere"), path),
    "a link to the folder itself": (path) => symlink(".", path),
    "a link to nothing": (path) => symlink("nowhere", path),
    "a pipe": (path) => execFileSync("mkfifo", [path]),
  };
  for (const [what, make] of Object.entries(last)) {
    const given = join(dir, what);
    await mkdir(given);
    for (const i of [0, 1]) await writeFile(join(given, `${i}.ckpt`), life[i]);
    await make(join(given, "2.ckpt"));
    for (const [how, give] of Object.entries(ways)) {
      await page.goto(server.url);
      await give(given);
      await page.waitForSelector("#verdict");
      const text = await page.innerText("#result");
      // Chromium keeps links to itself, and gives of a pipe what looks like an empty file.
      if (what === "a pipe") assert.match(text, /^(No verdict\n|Invalid\n[^]*an empty file, 2\.ckpt\n)/, how);
      else assert.match(text, /^(No verdict\n|Unbroken\n[^]*\n2 checkpoints, ticks 1 to 2, )/, `${what}, ${how}`);
    }
  }
});

test("another history can be dropped on a verdict, which says so", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="tampered.zip"]');
  await verdict(page);
  const cdp = await page.context().newCDPSession(page);
  const at = { x: 400, y: 500, data: { items: [], files: [join(histories, "liquidation-02")], dragOperationsMask: 1 } };
  assert.equal(await page.isVisible("#let-go"), false);
  await cdp.send("Input.dispatchDragEvent", { type: "dragEnter", ...at });
  await cdp.send("Input.dispatchDragEvent", { type: "dragOver", ...at });
  assert.equal(await page.isVisible("#let-go"), true);
  await cdp.send("Input.dispatchDragEvent", { type: "drop", ...at });
  await page.waitForFunction(() => document.getElementById("verdict").textContent === "Unbroken");
  assert.equal(await page.isVisible("#let-go"), false);
});

test("pasted files are verified", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.evaluate(async () => {
    const bytes = await (await fetch("samples/whole.car")).arrayBuffer();
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], "whole.car"));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  });
  assert.equal(await verdict(page), "Unbroken");
});

test("a pasted address is asked about, and nothing else that is pasted", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const paste = (on, text) =>
    page.evaluate(([on, text]) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", text);
      document.querySelector(on).dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }, [on, text]);
  for (const text of ["hello", "javascript:alert(1)", "/lives/1.car", ""]) await paste("body", text);
  await paste("#pin-did", "https://agent.example/1.car");
  assert.equal(page.url(), `${server.url}/`);
  await paste("body", " https://agent.example/1.car?day=2&x=#top\n");
  await page.waitForSelector("#ask:not([hidden])");
  assert.equal(await page.textContent("#ask-url"), "https://agent.example/1.car?day=2&x=");
});

test("what is saved as a CAR is what was opened", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const dir = await folder(t);
  const whole = await readFile(join(root, dist, "site", "samples", "whole.car"));
  for (const input of [["#files", join(root, dist, "site", "samples", "whole.car")], ["#folder", join(histories, "liquidation-02")]]) {
    await page.goto(server.url);
    await page.setInputFiles(...input);
    await verdict(page);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Save as one CAR")]);
    const path = join(dir, "saved.car");
    await download.saveAs(path);
    assert.deepEqual(await readFile(path), whole);
  }
  await page.goto(server.url);
  await page.click('[data-sample="forked.zip"]');
  await verdict(page);
  assert.ok(await page.isDisabled("text=Save as one CAR"));
});

test("by keyboard alone: a sample, its timeline, a byte changed and undone", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.sample || document.activeElement.className || document.activeElement.textContent);
  const tabTo = async (wanted) => {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      if ((await focused()) === wanted) return;
    }
    assert.fail(`${wanted} cannot be reached`);
  };
  await tabTo("whole.car");
  await page.keyboard.press("Enter");
  assert.equal(await verdict(page), "Unbroken");
  await page.waitForFunction(() => document.activeElement.id === "verdict");
  await tabTo("plot");
  const value = () => page.getAttribute(".plot", "aria-valuetext");
  await page.keyboard.press("Home");
  assert.match(await value(), /^tick 4, budget .* signature valid, bafkrei/);
  await page.keyboard.press("ArrowRight");
  assert.match(await value(), /^tick 9,/);
  await page.keyboard.press("+");
  await page.keyboard.press("0");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.id === "inspector" && document.getElementById("row").value === "2");
  await page.waitForSelector(".verdict-line.unbroken");
  await page.waitForSelector(".hex .byte");
  await tabTo("byte f0 lit");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("f");
  await page.keyboard.press("f");
  await page.waitForSelector(".verdict-line.invalid");
  const why = await page.textContent(".verdict-line");
  assert.match(why, /With your change the history is invalid/);
  assert.match(why, /bad-signature.*tick 9/);
  assert.match(why, /gap/);
  await page.keyboard.press("Control+z");
  await page.waitForSelector(".verdict-line.unbroken");
});

test("a byte that has its own value again is no change", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="whole.car"]');
  const before = await page.textContent('.hex [data-at="17"]');
  for (const [typed, verdict, said] of [["fe", "invalid", "With your change the history is invalid."], [before, "unbroken", "The history is verified."]]) {
    await page.click('.hex [data-at="17"]');
    for (const digit of typed) await page.keyboard.press(digit);
    await page.waitForSelector(`.verdict-line.${verdict}`);
    assert.ok((await page.textContent(".verdict-line")).startsWith(said));
    for (const button of ["Undo", "Undo all"]) {
      assert.equal(await page.getByRole("button", { name: button, exact: true }).isDisabled(), verdict === "unbroken", button);
    }
  }
});

test("where no keys come without a field, a byte is changed in one", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url, { viewport: { width: 390, height: 844 } });
  await page.click('[data-sample="whole.car"]');
  await page.click('.hex [data-at="17"]');
  assert.equal(await page.textContent("label[for=byte]"), "Byte 17, tickNumber");
  const before = await page.inputValue("#byte");
  for (const [typed, verdict] of [["xy", "unbroken"], ["f", "unbroken"], ["fe", "invalid"], [before, "unbroken"]]) {
    await page.fill("#byte", typed);
    await page.waitForSelector(`.verdict-line.${verdict}`);
  }
  // Its verdict is seen beside it.
  const line = await page.locator(".verdict-line").boundingBox();
  assert.ok(line.y >= 0 && line.y + line.height < 844, JSON.stringify(line));
  await page.fill("#byte", "0");
  await page.click(".hex h3");
  assert.equal(await page.inputValue("#byte"), before);
});

test("a pointer on the timeline shows, moves and zooms", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="whole.car"]');
  await page.waitForSelector(".u-over");
  const shown = async () => Number(/^Tick (\d+)/.exec(await page.textContent(".readout"))[1]);
  await page.locator(".timeline").scrollIntoViewIfNeeded();
  const { x, y, width } = await page.locator(".u-over").boundingBox();
  const at = (part) => page.mouse.move(x + width * part, y + 100);
  await at(0.01);
  assert.equal(await shown(), 4);
  await at(0.99);
  assert.equal(await shown(), 91);
  // Zoomed in at the right, then moved to the left end.
  await page.keyboard.down("Control");
  await page.mouse.wheel(0, -300);
  await page.keyboard.up("Control");
  await at(0.01);
  const left = await shown();
  assert.ok(left > 60, `zoomed in, ${left} is at the left`);
  await page.mouse.wheel(-5000, 0);
  await at(0.02);
  assert.equal(await shown(), 4);
  await at(0.99);
  const right = await shown();
  assert.ok(right < 40, `moved, ${right} is at the right`);
  await page.click(".zoom button:last-child");
  await at(0.99);
  assert.equal(await shown(), 91);
});

test("the mark on the timeline is where the readout's checkpoint is, however it is zoomed", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url, {
    init: () => {
      window.written = [];
      const { fillText } = CanvasRenderingContext2D.prototype;
      CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
        window.written.push(text);
        return fillText.call(this, text, ...more);
      };
    },
  });
  await page.click('[data-sample="cut.car"]');
  await page.waitForSelector(".u-over");
  await page.focus(".plot");
  const shown = async () => {
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    return page.evaluate(() => {
      const written = window.written.splice(0);
      const ticks = written.filter((text) => /^\d+$/.test(text)).map(Number);
      const mark = new DOMMatrix(getComputedStyle(document.querySelector(".u-cursor-x")).transform).m41;
      return { ticks: [Math.min(...ticks), Math.max(...ticks)], amounts: written.filter((text) => /^\d+\.\d+$/.test(text)), mark, width: document.querySelector(".u-over").clientWidth, tick: Number(/^Tick (\d+)/.exec(document.querySelector(".readout").textContent)[1]) };
    });
  };
  await page.keyboard.press("Home");
  await shown();
  for (const keys of [["PageDown"], ["ArrowRight"], ["+"], ["+"], ["ArrowRight"], ["End"], ["-"], ["ArrowLeft"], ["0"]]) {
    for (const key of keys) await page.keyboard.press(key);
    const { ticks: [first, last], amounts, mark, width, tick } = await shown();
    if (Number.isFinite(first)) {
      assert.ok(mark >= 0 && mark <= width, `${keys}: the mark is at ${mark} of ${width}`);
      // The axis has a margin beyond its first and last number.
      if (tick < first) assert.ok(mark < width / 2, `${keys}: tick ${tick} is left of ${first}, and its mark at ${mark}`);
      if (tick > last) assert.ok(mark > width / 2, `${keys}: tick ${tick} is right of ${last}, and its mark at ${mark}`);
      assert.equal(new Set(amounts.map((text) => text.split(".")[1].length)).size, 1, `${keys}: amounts ${amounts}`);
    }
  }
});

test("of two checkpoints at one tick, the point on the timeline's line is that of the readout or none", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="forked.zip"]');
  await page.waitForSelector(".u-over");
  await page.focus(".plot");
  const fork = [];
  for (const key of ["Home", ...Array(5).fill("ArrowRight")]) {
    await page.keyboard.press(key);
    const text = await page.textContent(".readout");
    await page.waitForSelector(".u-cursor-pt", { state: text.includes("fork") ? "hidden" : "visible", timeout: 10_000 });
    if (text.startsWith("Tick 20")) fork.push(text.includes("fork"));
  }
  assert.deepEqual(fork, [false, true]);
});

test("a finger on the timeline shows a checkpoint, and stays there", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url, { viewport: { width: 390, height: 844 } });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Emulation.setTouchEmulationEnabled", { enabled: true });
  await page.click('[data-sample="whole.car"]');
  await page.waitForSelector(".u-over");
  await page.locator(".timeline").scrollIntoViewIfNeeded();
  const { x, y, width } = await page.locator(".u-over").boundingBox();
  const touch = async (...points) => {
    await cdp.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [points[0]] });
    for (const point of points.slice(1)) await cdp.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: [point] });
    await cdp.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  const readout = (text) => page.waitForFunction((text) => document.querySelector(".readout").textContent.startsWith(text), text);
  await touch({ x: x + 3, y: y + 60 });
  await readout("Tick 4");
  assert.notEqual(await page.evaluate(() => document.activeElement.id), "inspector");
  // Zoomed in there, a swipe goes on from it.
  for (let i = 0; i < 3; i++) await page.click('[aria-label="Zoom in"]');
  await touch(...[0.9, 0.6, 0.3, 0.1].map((part) => ({ x: x + width * part, y: y + 60 })));
  await touch({ x: x + width / 2, y: y + 60 });
  await page.waitForFunction(() => Number(/^Tick (\d+)/.exec(document.querySelector(".readout").textContent)[1]) > 9);
});

test("a phone, which drops nothing, is told to choose", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  assert.match(await page.innerText("main"), /Drop a folder or files here/);
  await asPhone(page);
  assert.match(await page.innerText("main"), /Choose a folder or files/);
  assert.doesNotMatch(await page.innerText("main"), /\bdrop/i);
  await page.goto(`${server.url}/embed.html`);
  assert.doesNotMatch(await page.innerText("main"), /\bdrop/i);
});

test("fields and bytes light each other", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="whole.car"]');
  await page.waitForSelector(".hex .byte");
  await page.hover(".fields-table tbody tr:nth-child(5)");
  assert.equal(await page.locator(".hex .byte.lit").count(), 32);
  await page.hover('.hex [data-at="146"]');
  assert.equal(await page.locator(".hex .byte.lit").count(), 64);
  assert.equal(await page.textContent(".fields-table tr.lit th"), "signature");
});

test("a problem leads to its checkpoint", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.click('[data-sample="tampered.zip"]');
  await verdict(page);
  assert.equal(await page.textContent(".verdict .cause"), "Why: a bad signature at tick 39, and 1 more");
  await page.click(".verdict .cause a");
  await page.waitForFunction(() => document.getElementById("problems").getBoundingClientRect().top < 100);
  const problem = page.locator(".problem").first();
  assert.match(await problem.textContent(), /bad-signature.*0000000039\.ckpt, tick 39.*Most likely/s);
  await page.locator(".problem .places button").nth(1).click();
  await page.waitForFunction(() => document.querySelector(".which .title p").textContent === "0000000044.ckpt");
  // On paper there is nothing to press.
  await page.emulateMedia({ media: "print" });
  assert.ok(await problem.isVisible());
  assert.deepEqual(await page.locator("button:visible, input:visible").evaluateAll((found) => found.map((e) => e.id || e.textContent)), [
    "row", ...["version", "budget", "pricePerSecond", "tickNumber", "wasmHash", "majorVersion", "leaseGeneration", "leaseExpiry", "prevHash", "agentPubKey", "signature", "state"],
  ]);
});

test("pins are held, and a wrong one is explained", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, `${server.url}/?did=did:key:z6MksVnWzbqJ93zTJmWiv91TzzNPHHgngJEk2LKum1rvDs6n`);
  await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
  // What a link says is checked, but is not what the visitor expects.
  assert.equal(await verdict(page), "Unbroken");
  assert.match(await page.textContent(".questions"), /Is it who you expect\?You did not say.*named by the link, not by you/);
  assert.match(await page.textContent(".verdict .who"), /the link names/);
  assert.match(await page.textContent(".claims"), /Nor whose key it is: the DID was named by the link, not by you/);
  const [badge] = await Promise.all([page.waitForEvent("download"), page.click("text=Save the badge")]);
  assert.match(await readFile(await badge.path(), "utf8"), /unbroken, self-asserted/);
  const saved = async () => {
    const [report] = await Promise.all([page.waitForEvent("download"), page.click("text=Save the report")]);
    return JSON.parse(await readFile(await report.path(), "utf8"));
  };
  const linked = await saved();
  assert.equal(linked.identity, "pinned");
  assert.deepEqual(linked.pinnedBy, [{ pin: "did", by: "link" }]);
  assert.deepEqual(Object.keys(linked).slice(-2), ["pinnedBy", "verifier"]);
  await page.click("text=Verify another");
  assert.equal(await page.textContent("#pin-did-by"), "Named by the link, not by you.");
  await page.fill("#pin-did", await page.inputValue("#pin-did"));
  assert.equal(await page.textContent("#pin-did-by"), "");
  await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "Verified");
  assert.match(await page.textContent(".questions"), /Is it who you expect\?Yes/);
  assert.equal((await saved()).pinnedBy, undefined);
  await page.click("text=Verify another");
  await page.setInputFiles("#folder", join(histories, "liquidation-02"));
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "Invalid");
  assert.match(await page.textContent(".problems"), /identity-mismatch/);
  await page.click("text=Verify another");
  await page.fill("#pin-did", "did:key:nobody");
  await page.setInputFiles("#folder", join(histories, "heartbeat-01"));
  await page.waitForSelector('#pin-did[aria-invalid="true"]');
  assert.match(await page.textContent("#pin-error"), /DID/);
});

test("a link loads its history after the visitor agrees, and nothing else", async (t) => {
  const allow = { "access-control-allow-origin": "*" };
  const other = await serve(t, { "/lives/": `${dist}/site/samples` }, { headers: allow });
  const third = await serve(t, { "/x": "x" }, { headers: allow });
  const server = await serve(t, site);
  const page = await visit(t, `${server.url}/?history=${other.url}/lives/whole.car`, { expect: [/policy violation: connect-src/, /Content Security Policy/] });
  await page.waitForURL(/load\.html/);
  await page.waitForSelector("#ask:not([hidden])");
  assert.deepEqual(other.requests, []);
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.deepEqual(other.requests, ["/lives/whole.car"]);
  for (const url of [`${third.url}/x`, `${other.url}/lives/cut.car`]) {
    assert.equal(await page.evaluate((url) => fetch(url).then(() => "loaded", () => "refused"), url), "refused");
  }
  assert.deepEqual(third.requests, []);
});

test("back leads from a verdict to the start page, and forward to it again", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const focused = () => page.evaluate(() => document.activeElement.dataset.sample ?? document.activeElement.id);
  const start = () => page.waitForSelector("#drop", { state: "visible" });
  const back = () => page.evaluate(() => history.back());
  const forward = () => page.evaluate(() => history.forward());
  const entries = await page.evaluate(() => history.length);
  await page.focus('[data-sample="tampered.zip"]');
  await page.keyboard.press("Enter");
  assert.equal(await verdict(page), "Invalid");
  // A place on the page is no other page.
  await page.click(".cause a");
  await page.waitForURL(/#problems$/);
  await back();
  await page.waitForURL(`${server.url}/`);
  assert.equal(await verdict(page), "Invalid");
  await back();
  await start();
  assert.equal(await page.isVisible("#result"), false);
  assert.equal(await focused(), "tampered.zip");
  await forward();
  assert.equal(await verdict(page), "Invalid");
  assert.equal(await focused(), "verdict");
  // What it shows is all there.
  await page.fill("#row", "3");
  await page.press("#row", "Enter");
  await page.waitForFunction(() => document.querySelector(".which .mono").textContent === "0000000014.ckpt");
  assert.ok((await page.locator(".u-over").boundingBox()).width > 300);
  // Another verdict takes its place, and is one step from the start page too.
  const files = [join(histories, "liquidation-02", "0000000004.ckpt")];
  await page.setInputFiles("#files", files);
  await page.waitForFunction(() => document.getElementById("verdict").textContent === "Unbroken");
  await back();
  await start();
  // A start page that the visitor asked for is one to come back from.
  await forward();
  await verdict(page);
  await page.click("text=Verify another");
  await start();
  assert.equal(await focused(), "pick-files");
  await back();
  assert.equal(await verdict(page), "Unbroken");
  assert.equal(await page.evaluate(() => history.length), entries + 2);
  // After a reload the verdict is not in memory, and the page begins anew.
  await page.reload();
  await start();
  await forward();
  await start();
  await back();
  await start();
  assert.equal(await page.isVisible("#result"), false);
});

test("the address names a link's history only while that is what is shown", async (t) => {
  const other = await serve(t, { "/lives/": `${dist}/site/samples` }, { headers: { "access-control-allow-origin": "*" } });
  const server = await serve(t, site);
  const page = await visit(t, `${server.url}/load.html?did=&history=${other.url}/lives/whole.car`);
  const named = () => new URL(page.url()).searchParams.get("history");
  await page.click("#ask-yes");
  assert.equal(await verdict(page), "Unbroken");
  assert.equal(named(), `${other.url}/lives/whole.car`);
  await page.click("text=Verify another");
  await page.waitForSelector("#drop", { state: "visible" });
  assert.equal(named(), null);
  assert.equal(await page.isVisible("#ask"), false);
  await page.evaluate(() => history.back());
  assert.equal(await verdict(page), "Unbroken");
  assert.equal(named(), `${other.url}/lives/whole.car`);
  await page.setInputFiles("#files", join(root, dist, "site", "samples", "forked.car"));
  await page.waitForFunction(() => document.getElementById("verdict").textContent === "Invalid");
  assert.equal(named(), null);
  await page.evaluate(() => history.back());
  await page.waitForSelector("#ask", { state: "visible" });
  assert.equal(named(), `${other.url}/lives/whole.car`);
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-yes");
});

test("a link to a page is shown with a picture, which no page loads", async (t) => {
  const files = await readdir(join(root, dist, "site"), { recursive: true });
  const pages = files.filter((name) => name.endsWith(".html"));
  assert.ok(pages.length > 5);
  for (const name of pages) {
    const html = await readFile(join(root, dist, "site", name), "utf8");
    for (const property of ["og:image", "twitter:image"]) assert.match(html, new RegExp(`"${property}" content="https://igor\\.dev/social\\.png"`), name);
  }
  const png = await readFile(join(root, dist, "site", "social.png"));
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [1200, 630]);
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  assert.deepEqual(server.requests.filter((path) => path.includes("social")), []);
});

test("the page asks no other server than its own", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url, { expect: [/policy violation: connect-src/, /Content Security Policy/] });
  assert.equal(await page.evaluate(() => fetch("http://127.0.0.1:9/").then(() => "loaded", () => "refused")), "refused");
});

test("works offline after the first visit", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await page.context().setOffline(true);
  t.after(() => page.context().setOffline(false));
  const before = server.requests.length;
  for (const path of ["", "specs/", "embed.html", "specs/lineage.html", ""]) {
    await page.goto(`${server.url}/${path}`);
    assert.notEqual(await page.textContent("h1"), "");
  }
  await page.click('[data-sample="whole.car"]');
  assert.equal(await verdict(page), "Unbroken");
  assert.equal(server.requests.length, before);
  // Nobody breaks off reading a file that is kept, of which Firefox would complain.
  const verifier = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.includes(".wasm")));
  assert.equal(verifier.length, 1);
  assert.match(verifier[0].slice(server.url.length), /^\/app\/igor-verify-[0-9a-f]{8}\.wasm$/);
});

test("the page names the verifier that it runs", async (t) => {
  const server = await serve(t, site);
  const page = await visit(t, server.url);
  const app = join(root, dist, "site", "app");
  const wasm = await readFile(join(app, (await readdir(app)).find((name) => name.endsWith(".wasm"))));
  const build = await page.textContent("#build");
  assert.ok(build.includes(createHash("sha256").update(wasm).digest("hex")));
  await page.click('[data-sample="whole.car"]');
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Save the report")]);
  const report = JSON.parse(await readFile(await download.path(), "utf8"));
  assert.ok(build.includes(report.verifier), `${build}, but ${report.verifier}`);
});
