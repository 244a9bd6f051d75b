// The Verify page.

import { VerifyError } from "../verify/error.ts";
import { stream } from "../verify/input.ts";
import { reportJSON } from "../verify/report.ts";
import { check, prepare, type Checked } from "./check.ts";
import { items, type Found } from "./collect.ts";
import { byID, count, download, h, mark, size } from "./dom.ts";
import { handOver } from "./handover.ts";
import { goToInspector, inspector } from "./inspector.ts";
import { goTo, historyURL, loadPage } from "./link.ts";
import { offline } from "./offline.ts";
import { receive, type Source } from "./receive.ts";
import { badgeSVG } from "./svg.ts";
import { Slices } from "./slices.ts";
import { Model, timeline } from "./timeline.ts";
import { cause, problemsSection, summary, verdictPanel } from "./verdict.ts";

/** How much is loaded from an address. */
const maxLoad = 2 ** 30;

/** Progress is shown so often, in milliseconds. */
const showEvery = 60;

/** What a CAR has before each checkpoint, about: its CID, and the length of both. */
const blockOverhead = 38;

const idle = byID("idle");
const busy = byID("busy");
const result = byID("result");
const drop = byID("drop");
/** Says on the whole page what the drop zone says, where that is not seen. */
const letGo = byID("let-go");
const pinDID = byID<HTMLInputElement>("pin-did");
const pinHead = byID<HTMLInputElement>("pin-head");
const pinError = byID("pin-error");

let stop: AbortController | undefined;

/** What had the keyboard when the start page was left. */
let left: HTMLElement | undefined;

/** Shows one of the page's three states. */
function show(state: HTMLElement): void {
  for (const each of [idle, busy, result]) each.hidden = each !== state;
}

/** Verifies whatever was given, however it was given. */
async function verify(source: Source, pins = { did: pinDID.value.trim(), head: pinHead.value.trim() }): Promise<void> {
  stop?.abort();
  const controller = new AbortController();
  stop = controller;
  if (!idle.hidden && document.activeElement instanceof HTMLElement && idle.contains(document.activeElement)) left = document.activeElement;
  pinError.textContent = "";
  for (const field of [pinDID, pinHead]) field.removeAttribute("aria-invalid");
  const progress = new Progress(source.total, controller.signal);
  const began = performance.now();
  try {
    const done = await check(items(source(), controller.signal), {
      ...pins,
      signal: controller.signal,
      onProgress: (now) => progress.update(now.checkpoints, now.bytes),
    });
    const seconds = (performance.now() - began) / 1000;
    const model = await Model.from(done.life, done.report, new Slices(controller.signal));
    if (stop !== controller) return;
    showResult(done, model, seconds, source);
  } catch (error) {
    if (stop !== controller) return;
    if (controller.signal.aborted) showIdle("Stopped. Nothing was decided.");
    else if (error instanceof VerifyError && error.code === "bad-pin") showBadPin(error, pins);
    else showError(error, source, error instanceof VerifyError && error.code === "unreadable" ? () => void verify(source, pins) : undefined);
  } finally {
    progress.end();
    if (stop === controller) stop = undefined;
  }
}

/** The progress, which is only shown once it takes long enough to be seen. */
class Progress {
  #timer: ReturnType<typeof setInterval>;
  #checkpoints = 0;
  #bytes = 0;

  constructor(total: number | undefined, signal: AbortSignal) {
    const bar = byID<HTMLProgressElement>("bar");
    bar.removeAttribute("value");
    let shown = false;
    const focused = document.activeElement;
    this.#timer = setInterval(() => {
      if (signal.aborted) return;
      if (!shown) {
        show(busy);
        byID("live").textContent = "Verifying";
        if (focused instanceof HTMLElement && focused !== document.body) byID("stop").focus();
        shown = true;
      }
      byID("busy-count").textContent = count(this.#checkpoints, "checkpoint");
      byID("busy-bytes").textContent = total ? `${size(this.#bytes)} of ${size(total)}` : size(this.#bytes);
      if (total) bar.value = Math.min((this.#bytes + this.#checkpoints * blockOverhead) / total, 1);
    }, showEvery);
  }

  update(checkpoints: number, bytes: number): void {
    this.#checkpoints = checkpoints;
    this.#bytes = bytes;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

function showIdle(message = ""): void {
  enter(undefined);
  show(idle);
  byID("live").textContent = message;
  scrollTo(0, 0);
  begin().focus({ preventScroll: true });
}

/** Where the start page begins for the keyboard. */
function begin(): HTMLElement {
  return byID(byID("ask").hidden ? "pick-files" : "ask-yes");
}

function showBadPin(error: VerifyError, pins: { did: string; head: string }): void {
  showIdle();
  byID<HTMLDetailsElement>("pins").open = true;
  const field = /\bDID\b|did:key/.test(error.message) || !pins.head ? pinDID : pinHead;
  field.setAttribute("aria-invalid", "true");
  pinError.textContent = `${error.problem[0]!.toUpperCase()}${error.problem.slice(1)}.`;
  field.focus();
}

function again(): HTMLElement {
  return h("button", { type: "button", class: "primary", click: () => showIdle() }, "Verify another");
}

/** No verdict: neither good nor bad. */
function showError(error: unknown, source?: Source, retry?: () => void): void {
  const known = error instanceof VerifyError;
  const { path, problem, hint } = known ? error : { path: undefined, problem: `the page failed: ${String(error)}`, hint: undefined };
  const heading = h("h1", { id: "verdict", tabindex: -1 }, "No verdict");
  result.replaceChildren(
    h(
      "section",
      { class: "verdict error", "aria-labelledby": "verdict" },
      h("div", { class: "head" }, mark("error"), h("div", {}, heading, h("p", { class: "sum" }, "Nothing was verified. The history may be good or bad."))),
      h(
        "div",
        { class: "body" },
        h("div", {}, path ? h("p", { class: "mono" }, path) : undefined, h("p", { class: "wrong" }, `${problem[0]!.toUpperCase()}${problem.slice(1)}.`), hint ? h("p", { class: "hint" }, `What to do: ${hint}.`) : undefined),
      ),
    ),
    h("div", { class: "actions" }, retry && h("button", { type: "button", click: retry }, "Try again"), again()),
  );
  byID("live").textContent = "";
  present(heading, source);
}

function present(heading: HTMLElement, source?: Source, done?: Checked): void {
  kept = { id: performance.timeOrigin + performance.now(), heading, done };
  enter(kept.id, source);
  show(result);
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
}

function showResult(done: Checked, model: Model, seconds: number, source: Source): void {
  const { report, life } = done;
  const failed = (error: unknown) => showError(error, source);
  const inspect = inspector(life, report, done, (row) => picture.select(row));
  const open = (row: number) => {
    goToInspector();
    inspect.open(row).catch(failed);
  };
  const picture = timeline(model, open);
  const saving = h("button", { type: "button", disabled: !done.saveable }, "Save as one CAR");
  saving.addEventListener("click", async () => {
    saving.disabled = true;
    try {
      download(`${name(done)}.car`, await done.save());
    } catch (error) {
      failed(error);
    } finally {
      saving.disabled = false;
    }
  });
  const embed = h("a", { class: "button", target: "_blank", rel: "opener" }, "Embed the badge", h("span", { class: "visually-hidden" }, ", in a new tab"));
  const panel = verdictPanel(report, seconds);
  result.replaceChildren(
    panel,
    h(
      "div",
      { class: "actions" },
      again(),
      saving,
      h("button", { type: "button", click: () => download(`${name(done)}.report.json`, new Blob([reportJSON(report)], { type: "application/json" })) }, "Save the report"),
      h("button", { type: "button", click: () => download(`${name(done)}.svg`, new Blob([badgeSVG(report)], { type: "image/svg+xml" })) }, "Save the badge"),
      embed,
      !done.saveable && h("span", { class: "hint" }, "Only checkpoints that are one path are saved as a CAR."),
    ),
  );
  if (report.problems.length > 0) {
    result.append(
      problemsSection(report, (problem) => {
        const row = life.find(problem);
        return row === undefined ? undefined : () => open(row);
      }),
    );
  }
  result.append(picture.element, inspect.element);
  const first = report.problems.find((problem) => problem.name !== undefined);
  inspect.open((first && life.find(first.name!)) ?? life.length - 1).catch(failed);
  byID("live").textContent = [`${report.verdict}: ${summary(report)}`, cause(report)].filter(Boolean).join(", ");
  present(panel.querySelector("h1")!, source, done);
  embed.href = embedPage(done, kept!.id, source);
}

/** The Embed page's address, with what is known of the history. */
function embedPage({ report, pins }: Checked, verdict: number, { url }: Source): string {
  const known = { src: url?.href, did: report.did, head: pins.head || report.head };
  const given = Object.entries(known).filter((pair): pair is [string, string] => Boolean(pair[1]));
  return `embed.html?${new URLSearchParams(given)}#${verdict}`;
}

handOver((verdict) => (kept?.id === verdict ? kept.done?.bundle() : undefined));

// The start page and a verdict are entries of the browser's history. The newest verdict stays in memory.

/** What an entry shows: the verdict with this number, or the start page, which has none. */
interface Entry {
  verdict?: number | undefined;
}

/** The verdict in memory, its heading, and what it is of. Numbers are not given twice, not even by an earlier visit. */
let kept: { id: number; heading: HTMLElement; done: Checked | undefined } | undefined;

/** The verdict that the page's entry is of. */
let entry: number | undefined;

/** Goes on to another entry. A verdict that another one takes the place of is no step to go back to. */
function enter(verdict: number | undefined, source?: Source): void {
  const url = new URL(location.href);
  const first = history.state === null;
  // The address names a history only where that history is what is shown, or asked about.
  if (verdict !== entry && !source?.url && !first) url.searchParams.delete("history");
  url.hash = "";
  const state: Entry = { verdict };
  if (first || (entry === undefined) === (verdict === undefined)) history.replaceState(state, "", url);
  else history.pushState(state, "", url);
  entry = verdict;
  byID("ask").hidden = !asked();
}

addEventListener("popstate", ({ state }: { state: Entry | null }) => {
  // A link to a place on the page, as to the problems, shows what was shown.
  if (!state) return history.replaceState({ verdict: entry } satisfies Entry, "");
  if (state.verdict === entry && result.hidden === (entry === undefined)) return;
  stop?.abort();
  stop = undefined; // nobody asked what came of it
  entry = state.verdict;
  byID("live").textContent = "";
  if (kept && kept.id === entry) {
    show(result);
    kept.heading.focus({ preventScroll: true });
    return;
  }
  entry = undefined;
  history.replaceState({} satisfies Entry, "");
  byID("ask").hidden = !asked();
  show(idle);
  (left?.checkVisibility() ? left : begin()).focus();
});

/** A name for what is saved: the end of the DID, and the last tick. */
function name({ report }: Checked): string {
  const who = report.did ? report.did.slice(-8) : "unknown";
  return report.lastTick === undefined ? `igor-${who}` : `igor-${who}-${report.lastTick}`;
}

// Drop, paste and choose, on the whole page.

receive(
  {
    given: (source) => void verify(source),
    pasted: goTo,
    over(held) {
      drop.classList.toggle("over", held);
      letGo.hidden = !held || drop.checkVisibility();
      byID("drop-title").textContent = held ? "Let go to verify" : "Drop a folder or files here";
    },
  },
  { "pick-files": "files", "pick-folder": "folder" },
);

byID("stop").addEventListener("click", () => stop?.abort());

// Samples.

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sample]")) {
  const { sample, did, head } = button.dataset;
  button.addEventListener("click", () => {
    const source = () => loaded(new URL(`samples/${sample}`, document.baseURI), sample!);
    void verify(source, { did: did ?? "", head: head ?? "" });
  });
}

/** Loads a history, within a limit. */
async function* loaded(url: URL, name: string): AsyncGenerator<Found> {
  const signal = stop?.signal;
  const fail = (problem: string, hint: string, cause?: unknown) => new VerifyError("unreadable", problem, { path: url.href, hint, cause });
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }), credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (cause) {
    signal?.throwIfAborted();
    throw fail("could not be loaded", "check the address, and that its server lets other pages read it (CORS)", cause);
  }
  if (!response.ok || !response.body) throw fail(`could not be loaded: HTTP status ${response.status}`, "check the address");
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for await (const piece of stream(response.body, url.href, signal)) {
    total += piece.length;
    if (total > maxLoad) throw new VerifyError("too-large", "over 1 GiB", { path: url.href, hint: "download it, and drop the file" });
    parts.push(piece);
  }
  yield { name, file: new Blob(parts, { type: response.headers.get("content-type") ?? "" }), folder: "" };
}

// A link with ?history=URL, and pins in a link.

const parameters = new URLSearchParams(location.search);
pinDID.value = parameters.get("did") ?? "";
pinHead.value = parameters.get("head") ?? "";
byID<HTMLDetailsElement>("pins").open = pinDID.value !== "" || pinHead.value !== "";

const url = historyURL(parameters.get("history"), location.href);
let declined = false;

/** Whether the visitor is to be asked for the history that the page's address names. */
function asked(): boolean {
  return url !== undefined && !declined && new URLSearchParams(location.search).has("history");
}

history.replaceState(null, ""); // what an earlier visit to this entry showed is not in memory
if (parameters.has("history") && !url) {
  showError(new VerifyError("unreadable", "the link names no address that can be loaded", { hint: "check the part after ?history=" }));
} else {
  enter(undefined);
  if (url && !location.pathname.endsWith(`/${loadPage}`)) location.replace(new URL(`${loadPage}${location.search}`, document.baseURI));
  else if (url) ask(url);
}

function ask(url: URL): void {
  byID("ask").hidden = false;
  byID("ask-url").textContent = url.href;
  byID("ask-yes").addEventListener("click", () => {
    const file = url.pathname.slice(url.pathname.lastIndexOf("/") + 1);
    void verify(Object.assign(() => loaded(url, file || "history"), { url }));
  });
  byID("ask-no").addEventListener("click", () => {
    declined = true;
    byID("ask").hidden = true;
    byID("pick-files").focus();
  });
  byID("ask-yes").focus();
}

prepare();
offline();
