/**
 * The element `<igor-lineage>`, which verifies an agent's history where it is shown. This
 * file has its class; `igor-lineage.ts` registers it.
 *
 * @module
 */

import { reportJSON, verifyHistory, VerifyError, type Report } from "../verify/api.ts";
import { proofURL } from "../verify/base.ts";
import { isWhole, notFetched } from "../verify/pieces.ts";
import { Turns } from "../verify/turns.ts";
import { ask, grace } from "./answers.ts";
import { readSettings, verifierLink, type Settings } from "./settings.ts";
import { icon } from "./shapes.ts";
import { count, english, fill, type Look, type State, type Strings } from "./strings.ts";
import { css } from "./style.ts";

export { english, type Look, type Plural, type State, type Strings } from "./strings.ts";

/** Says that a verification came to a verdict, whichever it is. */
export class LineageReportEvent extends Event {
  readonly report: Report;

  constructor(report: Report) {
    super("igor-lineage-report", { bubbles: true, composed: true });
    this.report = report;
  }
}

/** Says that there is no verdict. */
export class LineageErrorEvent extends Event {
  readonly error: Error;

  constructor(error: Error) {
    super("igor-lineage-error", { bubbles: true, composed: true });
    this.error = error;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "igor-lineage": IgorLineageElement;
  }
  interface HTMLElementEventMap {
    "igor-lineage-report": LineageReportEvent;
    "igor-lineage-error": LineageErrorEvent;
  }
}

/** The badges of the page, for when a language comes later than they. */
const connected = new Set<IgorLineageElement>();

const languages = new Map<string, Strings>([["en", english]]);

let sheet: CSSStyleSheet | undefined;

/** After a failure that may be over soon, it is tried again after so many milliseconds. */
const retries = [1000, 4000];

/** Fewer bytes than this are as good as none, unless they are the last: or a host could hold a badge for ever. */
const least = 1024;

/** So many badges verify at the same time, and others that the page has begun to verify have room beside them. */
const turns = new Turns(8);

/** How many problems the details list. */
const maxProblems = 20;

/** What the report itself says is English, whatever the language of the badge. */
const inEnglish = { lang: "en", dir: "ltr" };

/** Where there is no DOM, as on a server, the class can be imported but not used. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/**
 * A badge that verifies an agent's history and says what it found. A click opens the details.
 *
 * @attribute src - the history: the URL of a CAR, or those of its checkpoints, separated by spaces
 * @attribute require-witness - the address of a policy: the history is incomplete unless its head is witnessed as it says
 * @attribute from - in the place of src: a server that has the life of the did, as igor publish and igor serve publish it
 * @attribute did - the identity that is expected; without it, the badge says whose history it is
 * @attribute head - the CID of a checkpoint that has to be in the history
 * @attribute pinned - without a did, nothing is verified: for frameworks, which leave an attribute out when it has no value
 * @attribute loading - with `lazy`, nothing is fetched before the badge comes into view
 * @attribute refresh - after so many seconds the history is asked for again
 * @attribute timeout - when less than 1 KiB comes in so many seconds, the badge gives up; 30 without it
 * @attribute verifier - the site to which the details lead those who want to check it themselves, as `igor site` serves it
 * @attribute state - set by the element, for styling
 * @attribute identity - set by the element, for styling: `pinned` or `self-asserted`
 * @fires {LineageReportEvent} igor-lineage-report
 * @fires {LineageErrorEvent} igor-lineage-error
 * @csspart badge icon text state identity dialog verifier
 * @cssprop --igor-lineage-font --igor-lineage-dialog-font --igor-lineage-radius
 * @cssprop --igor-lineage-text --igor-lineage-muted --igor-lineage-background --igor-lineage-border
 * @cssprop --igor-lineage-verified --igor-lineage-unbroken --igor-lineage-incomplete --igor-lineage-invalid --igor-lineage-error --igor-lineage-loading
 */
export class IgorLineageElement extends Base {
  static readonly observedAttributes = ["src", "from", "did", "head", "pinned", "loading", "refresh", "timeout", "verifier", "require-witness", "lang"];

  /** Gives the words of a language, of which the nearest `lang` attribute decides. */
  static localize(language: string, strings: Strings): void {
    languages.set(language.toLowerCase(), strings);
    for (const badge of connected) badge.#render();
  }

  #root: ShadowRoot;
  #run: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #scheduled = false;
  #late: ReturnType<typeof setTimeout> | undefined;
  #observer: IntersectionObserver | undefined;
  #state: State = "loading";
  #report: Report | undefined;
  #error: Error | undefined;
  #verified = 0; // checkpoints, while loading
  #versions: string[] = []; // of what the report is about, in the order in which it is asked for
  #unbound = new Set<string>(); // pins that were given no value

  constructor() {
    super();
    this.#root = this.attachShadow({ mode: "open" });
    const button = element(
      "button",
      { class: "badge", part: "badge", type: "button", "aria-haspopup": "dialog" },
      element("span", { class: "holder" }),
      element(
        "span",
        { class: "text", part: "text" },
        element("span", { class: "lineage" }),
        " ",
        element("span", { class: "state", part: "state" }),
        element("span", { class: "rest" }),
        element("span", { class: "identity", part: "identity" }),
      ),
    );
    this.#root.append(button);
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(css);
    }
    this.#root.adoptedStyleSheets = [sheet];
    button.addEventListener("click", () => this.showDetails());
  }

  /** The history: the URL of a CAR, or those of its checkpoints, separated by spaces. */
  get src(): string {
    return this.getAttribute("src") ?? "";
  }
  set src(value: string) {
    this.setAttribute("src", value);
  }

  /** In the place of src: the address of a server that has the life of the did. */
  get from(): string {
    return this.getAttribute("from") ?? "";
  }
  set from(value: string) {
    this.setAttribute("from", value);
  }

  /** The identity that is expected; null for none. To expect none, remove the attribute: no value is an error. */
  get did(): string | null {
    return this.getAttribute("did");
  }
  set did(value: string | null | undefined) {
    this.#pin("did", value);
  }

  /** The CID of a checkpoint that has to be in the history; null for none. To expect none, remove the attribute: no value is an error. */
  get head(): string | null {
    return this.getAttribute("head");
  }
  set head(value: string | null | undefined) {
    this.#pin("head", value);
  }

  // A framework that has no value for a pin sets an empty one, or none, and may then remove the
  // attribute. The history must not count as unpinned then.
  #pin(name: string, value: string | null | undefined): void {
    if (!value) this.#unbound.add(name);
    this.setAttribute(name, value ?? "");
  }

  /** Whether nothing is verified without a did. */
  get pinned(): boolean {
    return this.hasAttribute("pinned");
  }
  set pinned(value: boolean | string) {
    this.toggleAttribute("pinned", value !== false);
  }

  /** Whether the badge waits until it comes into view. */
  get loading(): "lazy" | "eager" {
    return this.getAttribute("loading")?.toLowerCase() === "lazy" ? "lazy" : "eager";
  }
  set loading(value: "lazy" | "eager") {
    this.setAttribute("loading", value);
  }

  /** After how many seconds the history is asked for again; 0 for never. */
  get refresh(): number {
    return Number(this.getAttribute("refresh") ?? 0);
  }
  set refresh(value: number) {
    this.setAttribute("refresh", String(value));
  }

  /** In how many seconds something has to come. */
  get timeout(): number {
    return Number(this.getAttribute("timeout") ?? 30);
  }
  set timeout(value: number) {
    this.setAttribute("timeout", String(value));
  }

  /** The site to which the details lead those who want to check the history themselves. */
  get verifier(): string {
    return this.getAttribute("verifier") ?? "https://igor.dev/";
  }
  set verifier(value: string) {
    this.setAttribute("verifier", value);
  }

  get state(): State {
    return this.#state;
  }

  /** The report, once there is a verdict. */
  get report(): Report | undefined {
    return this.#report;
  }

  /** Why there is no verdict. */
  get error(): Error | undefined {
    return this.#error;
  }

  connectedCallback(): void {
    // What a script set before the element was defined hides the accessors.
    for (const name of ["src", "from", "did", "head", "pinned", "loading", "refresh", "timeout", "verifier"] as const) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete (this as unknown as Record<string, unknown>)[name];
      (this as unknown as Record<string, unknown>)[name] = value;
    }
    connected.add(this);
    this.#schedule();
  }

  disconnectedCallback(): void {
    connected.delete(this);
    this.#stop();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (after) this.#unbound.delete(name);
    if (before === after || !this.isConnected) return;
    if (name === "lang") this.#render();
    else this.#schedule();
  }

  /** Verifies, again if it was before. */
  verify(): void {
    this.#start(performance.now());
  }

  /** Verifies what was answered since a time. Until there is a verdict, `shown` is what the badge shows. */
  #start(since: number, shown?: Report): void {
    this.#stop();
    const run = (this.#run = new AbortController());
    if (!shown) this.#show("loading");
    // A host that is slow on purpose would hold what the badge said before.
    else this.#late = setTimeout(() => this.#show("loading"), this.timeout * 1000);
    this.#verify(run.signal, since, shown).then(
      (report) => {
        if (this.#run !== run) return;
        this.#again();
        if (report === this.#report) return;
        this.#show(report.verdict, report);
        this.dispatchEvent(new LineageReportEvent(report));
      },
      (cause: unknown) => {
        if (this.#run !== run) return;
        this.#again();
        const error = cause instanceof Error ? cause : new Error(String(cause));
        this.#show("error", undefined, error);
        this.dispatchEvent(new LineageErrorEvent(error));
      },
    );
  }

  /** Sees to it that the history is asked for again, while the page is seen. */
  #again(): void {
    clearTimeout(this.#late);
    const { refresh } = this;
    if (!(refresh > 0)) return;
    this.#timer = setTimeout(() => (document.hidden ? this.#again() : this.#start(performance.now() - grace, this.#report)), refresh * 1000);
  }

  async #verify(signal: AbortSignal, since: number, shown?: Report): Promise<Report> {
    const settings = readSettings(this, this.#unbound);
    for (let attempt = 0; ; attempt++) {
      try {
        return await turns.run(signal, () => this.#once(settings, signal, since, shown));
      } catch (error) {
        if (attempt === retries.length || !(error instanceof VerifyError && error.temporary)) throw error;
        await new Promise((resolve) => setTimeout(resolve, retries[attempt]));
        signal.throwIfAborted();
      }
    }
  }

  async #once({ urls, from, pins, policy, timeout }: Settings, signal: AbortSignal, since: number, shown?: Report): Promise<Report> {
    const attempt = new AbortController();
    const abort = () => attempt.abort(signal.reason);
    signal.addEventListener("abort", abort);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        attempt.abort(new VerifyError("unreadable", `next to nothing came for ${timeout} seconds`, { path: this.src || this.from, hint: "try again later" }));
      }, timeout * 1000);
    };
    const asked: (() => void)[] = [];
    const get = async (url: URL): Promise<Response> => {
      attempt.signal.throwIfAborted();
      const { response, done } = ask(url, { credentials: "same-origin" }, since);
      asked.push(done);
      const answer = await response.catch((cause: unknown) => {
        attempt.signal.throwIfAborted();
        throw notFetched(url.href, cause);
      });
      const { body } = answer;
      alive();
      if (!body) return answer;
      let crumbs = 0;
      const watch = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, out) {
          crumbs += chunk.length;
          if (crumbs >= least) alive(), (crumbs = 0);
          out.enqueue(chunk);
        },
        flush: alive,
      });
      return new Response(body.pipeThrough(watch), answer);
    };
    const versions: string[] = [];
    const once = async (): Promise<Report> => {
      const all = policy ? [policy, from ? proofURL(from, pins.did!) : new URL("head.tlog-proof", urls[0]), ...urls] : urls;
      if (shown && (await unchanged(all, this.#versions, get))) return shown;
      const { signal } = attempt;
      const fetch = async (url: URL) => {
        const response = await get(url);
        versions.push(version(response));
        return response;
      };
      const input = from ? (await import("../verify/published.ts")).fetchLife(pins.did!, from, { signal, fetch }) : urls;
      const witness = policy && (await import("./witness.ts")).demand(policy, all[1]!, fetch);
      const report = await verifyHistory(input, {
        ...pins,
        ...(witness && { witness: await witness }),
        signal,
        fetch,
        onProgress: ({ checkpoints }) => {
          alive();
          this.#count(checkpoints);
        },
      });
      this.#versions = versions;
      return report;
    };
    alive();
    try {
      const aborted = new Promise<never>((_, reject) => attempt.signal.addEventListener("abort", () => reject(attempt.signal.reason)));
      return await Promise.race([once(), aborted]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      for (const done of asked) done();
    }
  }

  #drawn = 0;

  /** Shows, now and then, how far it is. */
  #count(checkpoints: number): void {
    this.#verified = checkpoints;
    const now = performance.now();
    if (this.#state !== "loading" || now - this.#drawn < 100) return;
    this.#drawn = now;
    this.#render();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#stop();
    this.#show("loading");
    queueMicrotask(() => {
      this.#scheduled = false;
      if (!this.isConnected) return;
      if (this.loading !== "lazy") return this.#start(0);
      this.#observer = new IntersectionObserver((entries) => {
        if (entries.some((entry) => entry.isIntersecting)) this.#start(0);
      });
      this.#observer.observe(this);
    });
  }

  #stop(): void {
    this.#run?.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#late);
    this.#observer?.disconnect();
    this.#run = this.#observer = undefined;
  }

  #show(state: State, report?: Report, error?: Error): void {
    this.#state = state;
    this.#report = report;
    this.#error = error;
    if (state === "loading") this.#verified = 0;
    this.setAttribute("state", state);
    if (report) this.setAttribute("identity", report.identity);
    else this.removeAttribute("identity");
    this.#render();
  }

  /** How the badge looks: an unbroken history of whoever made it is less than one of the agent that was expected. */
  get #look(): Look {
    return this.#state === "verified" && this.#report?.identity !== "pinned" ? "unbroken" : this.#state;
  }

  #find<E extends HTMLElement>(selector: string): E {
    return this.#root.querySelector<E>(selector)!;
  }

  /** The language's tag and words. */
  #language(): [string, Strings] {
    const tag = this.closest<HTMLElement>("[lang]")?.lang || "en";
    for (let part = tag.toLowerCase(); part; part = part.slice(0, Math.max(0, part.lastIndexOf("-")))) {
      const strings = languages.get(part);
      if (strings) return [tag, strings];
    }
    return ["en", english];
  }

  #render(): void {
    const [language, strings] = this.#language();
    const button = this.#find("button");
    const holder = this.#find(".holder");
    const look = this.#look;
    if (holder.dataset["look"] !== look) {
      holder.dataset["look"] = look;
      holder.replaceChildren(icon(look));
    }
    button.setAttribute("aria-busy", String(this.#state === "loading"));
    button.setAttribute("aria-disabled", String(this.#state === "loading"));
    this.#find(".lineage").textContent = `${strings.lineage}:`;
    this.#find(".state").textContent = strings.states[look];
    this.#find(".rest").textContent = this.#facts(language, strings)
      .map((fact) => `, ${fact}`)
      .join("");
    const { did, identity, lives } = this.#report ?? {};
    const by = lives
      ? count(strings.byKeys, lives.reduce((keys, { others = 1 }) => keys + others, 0), language)
      : did && fill(strings.by, { did: `${did.slice(8, 13)}…${did.slice(-5)}` });
    this.#find(".identity").textContent = by && identity === "self-asserted" ? `, ${by}` : "";
  }

  /** What the badge says after its state. */
  #facts(language: string, strings: Strings): string[] {
    const report = this.#report;
    if (!report) return this.#state === "loading" && this.#verified > 0 ? [count(strings.checkpoints, this.#verified, language)] : [];
    const facts = [count(strings.checkpoints, report.checkpoints, language)];
    const problem = report.problems[0];
    if (this.#look === "verified") facts.unshift(strings.expectedAgent);
    if (!problem) return report.verdict === "verified" ? [...facts, strings.noGaps] : facts;
    const where = problem.tick === undefined ? "" : ` ${fill(strings.atTick, { tick: problem.tick })}`;
    return report.verdict === "invalid"
      ? [strings.problems[problem.code] + where]
      : [...facts, strings.problems[problem.code]];
  }

  /** Opens the details, if there are any yet. */
  showDetails(): void {
    if (this.#state === "loading") return;
    const [language, strings] = this.#language();
    this.#root.querySelector("dialog")?.remove();
    const dialog = element("dialog", { part: "dialog", "aria-labelledby": "title" });
    const title = element("h2", { id: "title", tabindex: "-1", autofocus: "" });
    title.append(icon(this.#look), `${strings.lineage}: ${strings.states[this.#look]}`);
    dialog.append(title, ...this.#details(language, strings), this.#elsewhere(strings), this.#buttons(dialog, strings));
    // A click on the backdrop is one on the dialog itself, outside its box.
    dialog.addEventListener("click", (event) => {
      const { left, right, top, bottom } = dialog.getBoundingClientRect();
      const { clientX: x, clientY: y, target } = event;
      if (target === dialog && (x < left || x > right || y < top || y > bottom)) dialog.close();
    });
    dialog.addEventListener("close", () => dialog.remove());
    this.#root.append(dialog);
    dialog.showModal();
  }

  /** Leads to a verifier that this page has no say in, with the history's address and nothing of what this page pins. */
  #elsewhere(strings: Strings): HTMLElement {
    const link = verifierLink(this);
    if (!link) return element("p");
    const words = fill(strings.elsewhere, { site: link.host });
    const a = element("a", { href: link.href, target: "_blank", rel: "noopener noreferrer", part: "verifier" }, words);
    return element("p", {}, `${strings.pageSays} `, a);
  }

  #buttons(dialog: HTMLDialogElement, strings: Strings): HTMLElement {
    const footer = element("footer");
    const report = this.#report;
    if (report) {
      const save = element("button", { type: "button" }, strings.save);
      save.addEventListener("click", () => {
        const url = URL.createObjectURL(new Blob([reportJSON(report)], { type: "application/json" }));
        element("a", { href: url, download: "igor-lineage-report.json" }).click();
        setTimeout(() => URL.revokeObjectURL(url), 60_000);
      });
      footer.append(save);
    } else {
      const retry = element("button", { type: "button" }, strings.retry);
      retry.addEventListener("click", () => (dialog.close(), this.verify()));
      footer.append(retry);
    }
    const close = element("button", { type: "button" }, strings.close);
    close.addEventListener("click", () => dialog.close());
    footer.append(close);
    return footer;
  }

  #details(language: string, strings: Strings): HTMLElement[] {
    const report = this.#report;
    if (!report) return [element("p", {}, strings.noVerdict), element("p", inEnglish, this.#error?.message)];
    const { rows } = strings;
    const number = new Intl.NumberFormat(language);
    const list = element("dl");
    const row = (name: string, ...values: (string | Node | undefined)[]) => {
      const given = values.filter((value) => value !== undefined);
      if (given.length > 0) list.append(element("dt", {}, name), element("dd", {}, ...given));
    };
    const code = (text: string | undefined) => text && element("code", {}, text);
    const line = (text: string) => element("div", {}, text);
    row(rows.verdict, strings.states[report.verdict]);
    if (report.did && (report.identity === "pinned" || !report.lives)) {
      row(rows.identity, code(report.did), line(report.identity === "pinned" ? strings.pinned : strings.selfAsserted));
    }
    for (const { did, others, checkpoints } of report.lives ?? []) {
      row(rows.key, did ? code(did) : count(strings.otherKeys, others ?? 0, language), line(count(strings.checkpoints, checkpoints, language)));
    }
    row(rows.checkpoints, number.format(report.checkpoints));
    if (report.duplicates > 0) row(rows.duplicates, number.format(report.duplicates));
    if (report.firstTick !== undefined) {
      const [first, last] = [report.firstTick, report.lastTick ?? ""].map((tick) => number.format(BigInt(tick)));
      row(rows.ticks, `${first} – ${last}`);
    }
    row(rows.size, count(strings.bytes, report.bytes, language));
    row(rows.genesis, code(report.genesis));
    const pinned = report.completeness === "head-pinned" && !report.problems.some(({ code }) => code === "head-not-found");
    row(rows.head, code(report.head), report.head && (pinned || report.completeness === "unpinned")
      ? line(pinned ? strings.headPinned : strings.headUnpinned)
      : undefined);
    row(rows.programs, number.format(new Set(report.segments.map(({ wasmHash }) => wasmHash)).size));
    row(rows.verifier, report.verifier);
    const sentences = [report.proves, report.witnessed?.says ?? "", report.doesNotProve].filter(Boolean).map((text) => element("p", inEnglish, ...identified(text)));
    if (report.problems.length === 0) return [...sentences, list];
    const problems = element("ul");
    for (const { code, name, tick, message, expected, found } of report.problems.slice(0, maxProblems)) {
      const where = [name, tick && fill(strings.atTick, { tick })].filter(Boolean).join(", ");
      problems.append(
        element(
          "li",
          {},
          element("span", { class: "code" }, element("code", {}, code)),
          element("div", inEnglish, ...identified(message)),
          where && element("span", {}, ...identified(where)),
          expected && element("span", {}, `${strings.expected}: `, ...identified(expected)),
          found && element("span", {}, `${strings.found}: `, ...identified(found)),
        ),
      );
    }
    const more = report.problems.length - maxProblems;
    if (more > 0) problems.append(element("li", {}, count(strings.more, more, language)));
    return [problems, ...sentences, list];
  }
}

/** Which version an answer is, "" if that cannot be told. None at all is one too: a badge may wait for a proof. */
const version = (response: Response): string => (isWhole(response) ? (response.headers.get("etag") ?? "") : "none");

/** Whether the answers have the versions that they had. */
async function unchanged(urls: readonly URL[], versions: readonly string[], get: (url: URL) => Promise<Response>): Promise<boolean> {
  for (const [i, url] of urls.entries()) {
    const response = await get(url);
    await response.body?.cancel();
    if (!versions[i] || version(response) !== versions[i]) return false;
  }
  return true;
}

/** A text with its DIDs and CIDs as code, and with what would not be seen in it, or would turn it round, as its number. */
function identified(text: string): (Node | string)[] {
  const visible = text.replace(/[\p{C}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`; // as the page writes it
  });
  return visible.split(/(did:key:\w+|bafkrei\w+)/).map((part, i) => (i % 2 ? element("code", {}, part) : part));
}

/** Makes an element. What is undefined or empty is left out. */
function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: (Node | string | undefined)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const child of children) if (child) made.append(child);
  return made;
}
