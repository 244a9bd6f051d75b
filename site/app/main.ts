// The Verify page.

import { VerifyError } from "../verify/error.ts";
import { stream } from "../verify/input.ts";
import { isWhole } from "../verify/pieces.ts";
import { reportJSON, type Problem } from "../verify/report.ts";
import { check, inspectCheckpoint, prepare, readForkProof, readReceipts, wrongPin, type Checked } from "./check.ts";
import { items, type Found } from "./collect.ts";
import { besides, Kept } from "./given.ts";
import { forkPanel } from "./fork.ts";
import { byID, copyButton, count, download, fill, foreign, h, mark, size, whole } from "./dom.ts";
import { isOutdated } from "./fresh.ts";
import { handOver } from "./handover.ts";
import { goToInspector, inspector } from "./inspector.ts";
import { addressIn, decoded, goTo, linkTo, loadPage, parseName, serverURL, typedNames, type Address } from "./link.ts";
import { findLife, type Told } from "./named.ts";
import { offline } from "./offline.ts";
import { paymentsSection, type Paid } from "./payments.ts";
import { movesSection } from "./moves.ts";
import { isPolicy, namedBy, PinField, savedReport, unpinned, witnesses, witnessesOf, type Pins } from "./pins.ts";
import { receive, type Source } from "./receive.ts";
import { badgeSVG } from "./svg.ts";
import { Slices } from "./slices.ts";
import { Model, timeline } from "./timeline.ts";
import { cause, lookOf, problemsSection, summary, verdictPanel, type Place } from "./verdict.ts";

/** How much is loaded from an address. */
const maxLoad = 2 ** 30;

/** Progress is shown so often, in milliseconds. */
const showEvery = 60;

/** From so many seconds that are left on, it is said that one file is faster than many. */
const longRead = 10;

/** What a CAR has before each checkpoint, about: its CID, and the length of both. */
const blockOverhead = 38;

const idle = byID("idle");
const busy = byID("busy");
const result = byID("result");
const drop = byID("drop");
/** Says on the whole page what the drop zone says, where that is not seen. */
const letGo = byID("let-go");
const didField = new PinField(byID("pin-did"), byID("pin-did-by"));
const headField = new PinField(byID("pin-head"), byID("pin-head-by"));
const policyField = new PinField(byID<HTMLTextAreaElement>("pin-policy"), byID("pin-policy-by"));
const monitorField = new PinField(byID("pin-monitor"), byID("pin-monitor-by"));
const requireBox = byID<HTMLInputElement>("pin-require");
const fields = { did: didField, head: headField, policy: policyField, monitor: monitorField };
const pinError = byID("pin-error");
/** What was given without a history, to be looked at with the next. */
const kept = new Kept(byID("kept"), byID("kept-files"));

/** What the page is about now. */
const state: {
  /** Stops the run that is under way. */
  stop?: AbortController | undefined;
  /** What had the keyboard when the start page was left. */
  left?: HTMLElement | undefined;
  /** The verdict in memory, its heading, and what it is of. Numbers are not given twice, not even by an earlier visit. */
  kept?: { id: number; heading: HTMLElement; done: Checked | undefined } | undefined;
  /** The verdict that the entry of the browser's history is of. */
  entry?: number | undefined;
  /** Whether the visitor does not want the history that the address names. */
  declined: boolean;
} = { declined: false };

/** Shows one of the page's three views. */
function show(view: HTMLElement): void {
  for (const each of [idle, busy, result]) each.hidden = each !== view;
}

/** What the history will be held to, by whoever named it. */
const pinned = (): Pins => ({ did: didField.pin, head: headField.pin, policy: policyField.pin, monitor: monitorField.pin, require: requireBox.checked });

/** Takes what was dropped, pasted or chosen: a history, or what is looked at with one. */
async function given(source: Source): Promise<void> {
  const loose = source.loose ?? [];
  const { policy, others, only } = await besides(loose);
  if (only) {
    // By itself it is what the visitor says.
    if (policy) policyField.set(policy, "you");
    kept.add(others);
    const said = [policy && "The witnesses that you believe are set.", others.length > 0 && `${others.map(({ name }) => name).join(", ")}: kept for the next history.`].filter(Boolean).join(" ");
    showIdle(said);
    byID<HTMLDetailsElement>("pins").open = true;
    (policy ? policyField.input : byID("kept")).scrollIntoView({ block: "center" });
    if (policy) policyField.input.focus({ preventScroll: true });
    return;
  }
  const pins = pinned();
  // With a history it is the word of whoever gave both, unless the visitor says otherwise.
  void verify(source, policy && !pins.policy.value ? { ...pins, policy: { value: policy, by: "files" } } : pins);
}

/** Verifies whatever was given, however it was given. */
async function verify(source: Source, pins = pinned()): Promise<void> {
  state.stop?.abort();
  const controller = new AbortController();
  state.stop = controller;
  const { signal } = controller;
  if (!idle.hidden && document.activeElement instanceof HTMLElement && idle.contains(document.activeElement)) state.left = document.activeElement;
  pinError.textContent = "";
  for (const field of Object.values(fields)) field.markWrong(false);
  if (pins.policy.value === "" && (pins.monitor.value || pins.require)) return needsPolicy();
  const progress = new Progress(source.total, signal);
  fetching = source.address?.life ? "" : undefined;
  const began = performance.now();
  const loose: Blob[] = [];
  try {
    const receipts: Blob[] = [];
    const done = await check(items(kept.with(source()), signal, (files) => (progress.files = files), (file) => receipts.push(file), (file) => loose.push(file)), pins, {
      signal,
      onProgress: (now) => progress.update(now.checkpoints, now.bytes),
    });
    // What a server gave in segments that are no whole life may be whole by itself.
    const { problems } = done.report;
    if (source.again && problems.some(({ code }) => code === "gap" || code === "missing-genesis") && state.stop === controller) {
      return void verify(source.again("the segments are not one whole life"), pins);
    }
    const seconds = (performance.now() - began) / 1000;
    const model = await Model.from(done.life, done.report, new Slices(signal));
    const paid = await Promise.all(receipts.slice(0, 1).map(readReceipts));
    if (state.stop !== controller) return;
    showResult(done, model, seconds, source, paid[0]);
  } catch (error) {
    if (state.stop !== controller) return;
    if (signal.aborted) showIdle("Stopped. Nothing was decided.");
    else if (source.again && error instanceof VerifyError && error.code === "malformed-car") void verify(source.again(`${error.path ?? "a segment"}: ${error.problem}`), pins);
    else if (error instanceof VerifyError && error.code === "bad-pin" && pins.policy.by !== "files") await showBadPin(error, pins);
    else if (await isForkProof(error, loose)) await showForkProof(loose[0]!, source);
    else showError(error, source, error instanceof VerifyError && error.temporary ? () => void verify(source, pins) : undefined);
  } finally {
    progress.end();
    if (state.stop === controller) state.stop = undefined;
  }
}

/** What is said of a fetch that is under way. */
let fetching: string | undefined;

/** Whether the one file that was given is no history, but shows that a key lived twice. */
async function isForkProof(error: unknown, [file, ...others]: readonly Blob[]): Promise<boolean> {
  if (!(error instanceof VerifyError && error.code === "nothing-to-verify") || !file || others.length > 0) return false;
  return (await file.slice(0, forkProofStart.length).text()) === forkProofStart;
}

const forkProofStart = "igor/fork-proof/";

async function showForkProof(file: Blob, source: Source): Promise<void> {
  try {
    const report = await readForkProof(file);
    if (!report.proven) throw new VerifyError("unreadable", `this does not show that a key lived twice: ${report.problem}`, { path: source.label ?? "", hint: "get the file again" });
    const panel = forkPanel(report);
    result.replaceChildren(panel, h("div", { class: "actions" }, again()));
    byID("live").textContent = report.proves;
    present(panel.querySelector("h1")!, source);
  } catch (error) {
    showError(error, source);
  }
}

/** The progress, which is only shown once it takes long enough to be seen. */
class Progress {
  /** How many checkpoints there are in all, where that is known. */
  files: number | undefined;
  readonly #bar = byID<HTMLProgressElement>("bar");
  readonly #total: number | undefined;
  readonly #began = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;
  #checkpoints = 0;
  #bytes = 0;

  constructor(total: number | undefined, signal: AbortSignal) {
    this.#total = total;
    this.#bar.removeAttribute("value");
    for (const id of ["busy-left", "busy-hint"]) byID(id).textContent = "";
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
      this.#show();
    }, showEvery);
  }

  update(checkpoints: number, bytes: number): void {
    this.#checkpoints = checkpoints;
    this.#bytes = bytes;
  }

  #show(): void {
    const [done, bytes, total] = [this.#checkpoints, this.#bytes, this.#total];
    byID("busy-title").textContent = fetching !== undefined && done === 0 ? "Fetching" : "Verifying";
    if (fetching !== undefined && done === 0) {
      byID("busy-count").textContent = fetching;
      byID("busy-bytes").textContent = "";
      return;
    }
    byID("busy-count").textContent = this.files ? `${whole(done)} of ${count(this.files, "checkpoint")}` : count(done, "checkpoint");
    byID("busy-bytes").textContent = total ? `${size(bytes)} of ${size(total)}` : size(bytes);
    const part = this.files ? done / this.files : total ? Math.min((bytes + done * blockOverhead) / total, 1) : undefined;
    if (part === undefined) return;
    this.#bar.value = part;
    const passed = (performance.now() - this.#began) / 1000;
    if (passed < 2 || part < 0.01) return; // a guess would be worth nothing
    const left = (passed / part) * (1 - part);
    byID("busy-left").textContent = left < 1.5 ? "" : `about ${left < 90 ? count(Math.round(left), "second") : count(Math.round(left / 60), "minute")} left`;
    if (this.files && left > longRead) byID("busy-hint").textContent = "So many files take their time to read. As one .car, the same history takes seconds: save it as one from the result.";
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

async function showBadPin(error: VerifyError, pins: Pins): Promise<void> {
  const field = fields[await wrongPin(pins, error)];
  showIdle();
  byID<HTMLDetailsElement>("pins").open = true;
  field.markWrong(true);
  pinError.replaceChildren(foreign(`${error.problem[0]!.toUpperCase()}${error.problem.slice(1)}.`));
  field.input.focus();
}

/** What can be judged only by a policy was asked for without one. */
function needsPolicy(): void {
  showIdle();
  byID<HTMLDetailsElement>("pins").open = true;
  policyField.markWrong(true);
  pinError.textContent = "Say which witnesses you believe: a monitor and a demand need a policy.";
  policyField.input.focus();
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
        h(
          "div",
          {},
          path ? h("p", { class: "mono path" }, foreign(path)) : undefined,
          h("p", { class: "wrong" }, foreign(`${problem[0]!.toUpperCase()}${problem.slice(1)}.`)),
          hint ? h("p", { class: "hint" }, "What to do: ", foreign(`${hint}.`)) : undefined,
        ),
      ),
    ),
    h("div", { class: "actions" }, retry && h("button", { type: "button", click: retry }, "Try again"), again()),
  );
  byID("live").textContent = "";
  present(heading, source);
}

function present(heading: HTMLElement, source?: Source, done?: Checked): void {
  state.kept = { id: performance.timeOrigin + performance.now(), heading, done };
  enter(state.kept.id, source);
  show(result);
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
}

function showResult(done: Checked, model: Model, seconds: number, source: Source, paid?: Paid): void {
  const { report, life, pins } = done;
  const failed = (error: unknown) => showError(error, source);
  const inspect = inspector(done, (row) => picture.select(row), failed);
  const open = (row: number) => {
    goToInspector();
    void inspect.open(row);
  };
  const picture = timeline(model, open);
  kept.clear();
  const panel = verdictPanel(report, pins, life, seconds, source.label ?? "", source.told && fetchedNote(source.told));
  const actions = resultActions(done, source, failed);
  result.replaceChildren(panel, actions.element, picture.element);
  if (report.problems.length > 0) result.append(problemsSection(report, (problem) => places(problem, done, open)));
  const moves = movesSection(report, (cid) => {
    const row = life.find(cid);
    if (row !== undefined) open(row);
  });
  if (moves) result.append(moves);
  const payments = paid && paymentsSection(paid, report.did);
  if (payments) result.append(payments);
  result.append(inspect.element);
  const first = report.problems.find((problem) => problem.name !== undefined);
  void inspect.open((first && life.find(first.name!)) ?? life.length - 1);
  const look = lookOf(report, pins);
  byID("live").textContent = [`${look === "unbroken" ? "unbroken, self-asserted" : report.verdict}: ${summary(report)}`, cause(report)].filter(Boolean).join(", ");
  present(panel.querySelector("h1")!, source, done);
  actions.embed.href = embedPage(done, state.kept!.id, source);
  const { id } = state.kept!;
  void isOutdated().then((outdated) => {
    if (outdated && state.kept?.id === id) result.prepend(outdatedNotice());
  });
}

/** Where a problem is. A fork is where its branches part, each by a checkpoint of its own. */
function places({ name, code }: Problem, { life }: Checked, open: (row: number) => void): Place[] {
  const row = name === undefined ? undefined : life.find(name);
  if (row === undefined) return [];
  const others = code === "fork" ? life.siblings(row) : [];
  return [
    { label: others.length > 0 ? "Inspect this side" : "Inspect", open: () => open(row) },
    ...others.slice(0, 4).map((other, i) => ({ label: i === 0 ? "Inspect the other side" : `Inspect side ${i + 2}`, open: () => open(other) })),
  ];
}

/** What can be done with a result. */
function resultActions(done: Checked, { address }: Source, failed: (error: unknown) => void): { element: HTMLElement; embed: HTMLAnchorElement } {
  const { report, pins } = done;
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
  const saver = (label: string, extension: string, type: string, text: () => string) =>
    h("button", { type: "button", click: () => download(`${name(done)}.${extension}`, new Blob([text()], { type })) }, label);
  const embed = h("a", { class: "button", target: "_blank", rel: "opener" }, "Embed the badge", h("span", { class: "visually-hidden" }, ", in a new tab"));
  const element = h(
    "div",
    { class: "actions" },
    again(),
    saving,
    saver("Save the report", "report.json", "application/json", () => savedReport(reportJSON(report), pins)),
    address && copyButton(() => linkTo(address, done.report.verdict === "verified" ? done.report.head : "", pins).href, "", "Copy a link to this check", ""),
    saver("Save the badge", "svg", "image/svg+xml", () => badgeSVG(lookOf(report, pins) === "unbroken" ? { ...report, identity: "self-asserted" } : report)),
    embed,
    !done.saveable && h("span", { class: "hint" }, "Only checkpoints that are one path are saved as a CAR."),
  );
  return { element, embed };
}

/** Says that this verdict is by an older build than the server has: what was mended since is not in it. */
function outdatedNotice(): HTMLElement {
  return h(
    "div",
    { class: "outdated", role: "status" },
    mark("incomplete"),
    h("p", {}, h("b", {}, "This verdict is by an older version of this page than the one on its server. "), "What was mended since is not in it. Load the page again, and verify once more."),
    h("button", { type: "button", click: () => location.reload() }, "Load it again"),
  );
}

/** The Embed page's address, with what is known of the history. */
function embedPage({ report, pins }: Checked, verdict: number, { address }: Source): string {
  const known = { src: address?.file?.href, from: address?.from?.[0]?.href, did: report.did, head: pins.head.value || report.head };
  const given = Object.entries(known).filter((pair): pair is [string, string] => Boolean(pair[1]));
  return `embed.html?${new URLSearchParams(given)}#${verdict}`;
}

handOver((verdict) => (state.kept?.id === verdict ? state.kept.done?.bundle() : undefined));

// The start page and a verdict are entries of the browser's history. The newest verdict stays in memory.

/** What an entry shows: the verdict with this number, or the start page, which has none. */
interface Entry {
  verdict?: number | undefined;
}

/** Goes on to another entry. A verdict that another one takes the place of is no step to go back to. */
function enter(verdict: number | undefined, source?: Source): void {
  const url = new URL(location.href);
  const first = history.state === null;
  // The address names a history only where that history is what is shown, or asked about.
  if (verdict !== state.entry && !source?.address && !first) for (const name of ["history", "from", "cid"]) url.searchParams.delete(name);
  url.hash = "";
  const entry: Entry = { verdict };
  if (first || (state.entry === undefined) === (verdict === undefined)) history.replaceState(entry, "", url);
  else history.pushState(entry, "", url);
  state.entry = verdict;
  byID("ask").hidden = !asked();
}

addEventListener("popstate", ({ state: entry }: { state: Entry | null }) => {
  // A link to a place on the page, as to the problems, shows what was shown.
  if (!entry) return history.replaceState({ verdict: state.entry } satisfies Entry, "");
  if (entry.verdict === state.entry && result.hidden === (state.entry === undefined)) return;
  state.stop?.abort();
  state.stop = undefined; // nobody asked what came of it
  state.entry = entry.verdict;
  byID("live").textContent = "";
  if (state.kept && state.kept.id === state.entry) {
    show(result);
    state.kept.heading.focus({ preventScroll: true });
    return;
  }
  state.entry = undefined;
  history.replaceState({} satisfies Entry, "");
  byID("ask").hidden = !asked();
  show(idle);
  (state.left?.checkVisibility() ? state.left : begin()).focus();
});

/** A name for what is saved: the end of the DID, and the last tick. */
function name({ report }: Checked): string {
  const who = report.did ? report.did.slice(-8) : "unknown";
  return report.lastTick === undefined ? `igor-${who}` : `igor-${who}-${report.lastTick}`;
}

// Drop, paste and choose, on the whole page.

receive(
  {
    given: (source) => void given(source),
    pasted(text) {
      if (isPolicy(text)) {
        policyField.set(text, "you");
        byID<HTMLDetailsElement>("pins").open = true;
        return policyField.input.focus();
      }
      const { address, did, cid } = parseName(text);
      if (address) goTo(address, false, pinned());
      else if (did || cid) {
        what.value = text;
        server.focus();
      }
    },
    over(held) {
      drop.classList.toggle("over", held);
      letGo.hidden = !held || drop.checkVisibility();
      for (const [id, seen] of [["drop-title", !held], ["drop-held", held]] as const) byID(id).hidden = !seen;
    },
  },
  { "pick-files": "files", "pick-folder": "folder" },
);

byID("stop").addEventListener("click", () => state.stop?.abort());

// Samples.

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sample]")) {
  const { sample, did, head } = button.dataset;
  button.addEventListener("click", () => {
    const source = Object.assign(() => loaded(new URL(`samples/${sample}`, document.baseURI), sample!), { label: `the sample ${sample}` });
    void verify(source, { ...unpinned, did: { value: did ?? "", by: "page" }, head: { value: head ?? "", by: "page" } });
  });
}

/** Loads a history, within a limit. */
async function* loaded(url: URL, name: string): AsyncGenerator<Found> {
  const signal = state.stop?.signal;
  const fail = (problem: string, hint: string, cause?: unknown) => new VerifyError("unreadable", problem, { path: url.href, hint, cause, temporary: true });
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }), credentials: "omit", referrerPolicy: "no-referrer" });
  } catch (cause) {
    signal?.throwIfAborted();
    throw fail("could not be loaded", "check the address, and that its server lets other pages read it (CORS)", cause);
  }
  if (!isWhole(response) || !response.body) throw fail(`could not be loaded: HTTP status ${response.status}`, "check the address");
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for await (const piece of stream(response.body, url.href, signal)) {
    total += piece.length;
    if (total > maxLoad) throw new VerifyError("too-large", "over 1 GiB", { path: url.href, hint: "download it, and drop the file" });
    parts.push(piece);
  }
  yield { name, file: new Blob(parts, { type: response.headers.get("content-type") ?? "" }), folder: "" };
}

// A life by its name.

const what = byID<HTMLInputElement>("find-what");
const server = byID<HTMLInputElement>("find-from");
const findError = byID("find-error");

byID("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const { address, did = "", cid = "" } = parseName(what.value);
  const from = server.value.trim() ? serverURL(server.value.trim()) : undefined;
  const wrong = (field: HTMLInputElement, words: string) => {
    for (const each of [what, server]) each.removeAttribute("aria-invalid");
    field.setAttribute("aria-invalid", "true");
    findError.textContent = words;
    field.focus();
  };
  if (!what.value.trim()) return wrong(what, "Write a DID, a CID, or an address.");
  if (!address && !did && !cid) return wrong(what, "This is no DID (did:key:z6Mk…), no CID of a checkpoint (bafkrei…), and no address (https://…).");
  if (address && !server.value.trim()) return goTo(address, false, pinned());
  if (address) return wrong(server, "The address above says where it is already. Leave this empty.");
  if (!from) return wrong(server, server.value.trim() ? "This is no address of a server (https://…)." : "A name does not say where the life is. Write the address of a server that has it.");
  goTo({ life: { did, cid }, from: [from] }, true, pinned());
});

/** What the servers said that a life came from, and what that is worth. */
function fetchedNote({ servers, main, slow }: Told): HTMLElement {
  const others = servers.filter(({ from }) => from !== main);
  const at = (head: { tick: string } | undefined, error?: string) => (head ? `tick ${whole(head.tick)}` : `no head: ${error ?? ""}`);
  const said = servers.find(({ from }) => from === main);
  return h(
    "div",
    { class: "fetched" },
    h("h2", {}, "Where it came from"),
    h(
      "p",
      {},
      foreign(main.href),
      said?.head ? `, which says that the life is at tick ${whole(said.head.tick)}. ` : ". ",
      "A server cannot change or make up a checkpoint. It can withhold the newest: ask another one too, or say which head you know.",
    ),
    ...others.map(({ from, head, error }) => h("p", { class: "hint" }, "Asked too: ", foreign(from.href), `, ${at(head, error)}.`)),
    slow && h("p", { class: "hint" }, "It came one by one, which is slow: ", foreign(slow), "."),
  );
}

// A link that names a history, or a life and its servers, and pins in a link.

const parameters = new URLSearchParams(location.search);
const own = typedNames();
const put = (field: PinField, name: string) => field.set(parameters.get(name) ?? "", own.has(name) ? "you" : "link");
put(didField, "did");
put(headField, !parameters.has("head") && parameters.has("from") ? "cid" : "head");
put(policyField, "policy");
put(monitorField, "monitor");
requireBox.checked = parameters.has("require") && policyField.pin.value !== "";
byID<HTMLDetailsElement>("pins").open = Object.values(fields).some(({ pin }) => pin.value !== "");

const address = addressIn(location.search, location.href);

/** Whether the visitor is to be asked for what the page's address names. */
function asked(): boolean {
  const query = new URLSearchParams(location.search);
  return address !== undefined && address !== "wrong" && !state.declined && (query.has("history") || query.has("from"));
}

history.replaceState(null, ""); // what an earlier visit to this entry showed is not in memory
if (address === "wrong") {
  const hint = parameters.has("from") ? "a link names did=DID or cid=CID, and from=https://SERVER/" : "check the part after ?history=";
  showError(new VerifyError("unreadable", "the link names nothing that can be loaded", { hint }));
} else {
  enter(undefined);
  if (address && !location.pathname.endsWith(`/${loadPage}`)) location.replace(new URL(`${loadPage}${location.search}`, document.baseURI));
  else if (address) ask(address);
}

/** What is to be verified at an address. */
function sourceAt(address: Address, singly?: string): Source {
  const { file, life, from } = address;
  if (file) {
    const name = decoded(file.pathname.slice(file.pathname.lastIndexOf("/") + 1));
    return Object.assign(() => loaded(file, name || "history"), { address, label: file.host });
  }
  const wanted = {
    ...life,
    from,
    singly,
    proofs: policyField.pin.value !== "",
    told: (told: Told) => (source.told = told),
    progress: (words: string) => (fetching = words),
    async owner(bytes: Uint8Array) {
      return (await inspectCheckpoint(bytes)).did;
    },
  };
  const source: Source = Object.assign(() => findLife(wanted, maxLoad, state.stop?.signal), {
    address,
    label: from.map(({ host }) => host).join(", "),
    again: singly === undefined ? (why: string) => sourceAt(address, why) : undefined,
  });
  return source;
}

function ask(address: Address): void {
  byID("ask").hidden = false;
  const { life } = address;
  if (life) {
    byID("ask-title").textContent = "Fetch this life?";
    const [one] = address.from;
    byID("ask-where").textContent = address.from.length > 1 ? "From these servers:" : "From this server:";
    byID("ask-hint").textContent = `${address.from.length > 1 ? "They" : one!.host} will see your address, and which agent you asked about. Nothing else is sent, and nobody else is asked.`;
  }
  fill(byID("ask-url"), ...(address.file ? [address.file.href] : address.from.flatMap(({ href }, i) => [i > 0 && h("br"), href])));
  const pins = Object.entries({ "Identity (DID)": didField.pin, "Head (CID)": headField.pin }).filter(([, { value }]) => value);
  fill(
    byID("ask-pins"),
    ...pins.map(([what, { value, by }]) => h("p", {}, `${what}, ${namedBy[by]}: `, h("code", { class: "mono" }, foreign(value)))),
    policyField.pin.value !== "" && h("p", {}, `Witnesses, ${namedBy[policyField.pin.by]}: a policy with ${witnesses(witnessesOf(policyField.pin.value))}${requireBox.checked ? ", and only a witnessed head counts" : ""}`),
    pins.some(([, { by }]) => by === "link") && h("p", { class: "hint" }, "It will be held to this; but whoever made the link chose it. Compare it with what the agent’s owner publishes."),
  );
  byID("ask-yes").addEventListener("click", () => void verify(sourceAt(address)));
  byID("ask-no").addEventListener("click", () => {
    state.declined = true;
    byID("ask").hidden = true;
    byID("pick-files").focus();
  });
  byID("ask-yes").focus();
}

prepare();
offline();
