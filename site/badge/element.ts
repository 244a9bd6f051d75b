/**
 * The element `<igor-lineage>`, which verifies an agent's history where it is shown. This
 * file has its class; `igor-lineage.ts` registers it.
 *
 * @module
 */

import { reportJSON, verifyHistory, VerifyError, type Report } from "../verify/index.ts";
import { count, english, fill, type State, type Strings } from "./strings.ts";
import { css } from "./style.ts";

export { english, type Plural, type State, type Strings } from "./strings.ts";

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

// The shapes are those of site/pages/layout.html, which a test holds against these: a
// disc with a check mark, a triangle with an exclamation mark, an octagon with a cross,
// a square with a question mark. A ring that turns is the badge's alone.
const shapes: Record<State, string> = {
  verified:
    `<circle cx="12" cy="12" r="11.5" fill="currentColor"/><path class="cut" d="M6.6 12.6l3.7 3.6 7.1-8" fill="none" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/>`,
  incomplete:
    `<path d="M12 1.2 23.4 21.8H.6z" fill="currentColor" stroke="currentColor" stroke-width="1" stroke-linejoin="round"/><path class="cut" d="M12 8.2v6.6M12 17.6v1.9" fill="none" stroke-width="2.5" stroke-linecap="butt"/>`,
  invalid:
    `<path d="M7.2.6h9.6l6.6 6.6v9.6l-6.6 6.6H7.2L.6 16.8V7.2z" fill="currentColor"/><path class="cut" d="M7.8 7.8l8.4 8.4M16.2 7.8l-8.4 8.4" fill="none" stroke-width="2.6" stroke-linecap="round"/>`,
  error:
    `<rect x="1.5" y="1.5" width="21" height="21" rx="3" fill="none" stroke="currentColor" stroke-width="2.4"/><path d="M8.8 9.4a3.2 3.2 0 1 1 4.9 2.7c-1.1.7-1.7 1.3-1.7 2.6M12 17.4v.2" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/>`,
  loading: `<path class="ring" d="M12 2a10 10 0 1 1-10 10" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/>`,
};

function icon(state: State): string {
  return `<svg class="icon" part="icon" viewBox="0 0 24 24" aria-hidden="true">${shapes[state]}</svg>`;
}

/** The badges of the page, for when a language comes later than they. */
const connected = new Set<IgorLineageElement>();

const languages = new Map<string, Strings>([["en", english]]);

let sheet: CSSStyleSheet | undefined;

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
 * @attribute did - the identity that is expected; without it, the badge says whose history it is
 * @attribute head - the CID of a checkpoint that has to be in the history
 * @attribute loading - with `lazy`, nothing is fetched before the badge comes into view
 * @attribute state - set by the element, for styling
 * @fires {LineageReportEvent} igor-lineage-report
 * @fires {LineageErrorEvent} igor-lineage-error
 * @csspart badge icon text state identity dialog
 * @cssprop --igor-lineage-font --igor-lineage-dialog-font --igor-lineage-radius
 * @cssprop --igor-lineage-text --igor-lineage-muted --igor-lineage-background --igor-lineage-border
 * @cssprop --igor-lineage-verified --igor-lineage-incomplete --igor-lineage-invalid --igor-lineage-error --igor-lineage-loading
 */
export class IgorLineageElement extends Base {
  static readonly observedAttributes = ["src", "did", "head", "loading", "lang"];

  /** Gives the words of a language, of which the nearest `lang` attribute decides. */
  static localize(language: string, strings: Strings): void {
    languages.set(language.toLowerCase(), strings);
    for (const badge of connected) badge.#render();
  }

  #root: ShadowRoot;
  #run: AbortController | undefined;
  #scheduled = false;
  #observer: IntersectionObserver | undefined;
  #state: State = "loading";
  #report: Report | undefined;
  #error: Error | undefined;
  #verified = 0; // checkpoints, while loading

  constructor() {
    super();
    this.#root = this.attachShadow({ mode: "open" });
    this.#root.innerHTML =
      `<button class="badge" part="badge" type="button" aria-haspopup="dialog">` +
      `<span class="holder"></span><span class="text" part="text"><span class="lineage"></span> ` +
      `<span class="state" part="state"></span><span class="rest"></span>` +
      `<span class="identity" part="identity"></span></span></button>`;
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(css);
    }
    this.#root.adoptedStyleSheets = [sheet];
    this.#find("button").addEventListener("click", () => this.showDetails());
  }

  /** The history: the URL of a CAR, or those of its checkpoints, separated by spaces. */
  get src(): string {
    return this.getAttribute("src") ?? "";
  }
  set src(value: string) {
    this.setAttribute("src", value);
  }

  /** The identity that is expected; empty for none. */
  get did(): string {
    return this.getAttribute("did") ?? "";
  }
  set did(value: string) {
    this.setAttribute("did", value);
  }

  /** The CID of a checkpoint that has to be in the history; empty for none. */
  get head(): string {
    return this.getAttribute("head") ?? "";
  }
  set head(value: string) {
    this.setAttribute("head", value);
  }

  /** Whether the badge waits until it comes into view. */
  get loading(): "lazy" | "eager" {
    return this.getAttribute("loading")?.toLowerCase() === "lazy" ? "lazy" : "eager";
  }
  set loading(value: "lazy" | "eager") {
    this.setAttribute("loading", value);
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
    connected.add(this);
    this.#schedule();
  }

  disconnectedCallback(): void {
    connected.delete(this);
    this.#stop();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.isConnected) return;
    if (name === "lang") this.#render();
    else this.#schedule();
  }

  /** Verifies, again if it was before. */
  verify(): void {
    this.#stop();
    const run = (this.#run = new AbortController());
    this.#show("loading");
    this.#verify(run.signal).then(
      (report) => {
        if (run.signal.aborted) return;
        this.#show(report.verdict, report);
        this.dispatchEvent(new LineageReportEvent(report));
      },
      (cause: unknown) => {
        if (run.signal.aborted) return;
        const error = cause instanceof Error ? cause : new Error(String(cause));
        this.#show("error", undefined, error);
        this.dispatchEvent(new LineageErrorEvent(error));
      },
    );
  }

  #verify(signal: AbortSignal): Promise<Report> {
    const urls = this.src.split(/\s+/).filter(Boolean);
    if (urls.length === 0) {
      return Promise.reject(new VerifyError("nothing-to-verify", "nothing to verify", { hint: "set src to the URL of a .car history" }));
    }
    let drawn = 0;
    return verifyHistory(
      (function* (base) {
        for (const url of urls) yield new URL(url, base);
      })(this.baseURI),
      {
        did: this.did,
        head: this.head,
        signal,
        onProgress: ({ checkpoints }) => {
          this.#verified = checkpoints;
          const now = performance.now();
          if (now - drawn < 100) return;
          drawn = now;
          this.#render();
        },
      },
    );
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#stop();
    this.#show("loading");
    queueMicrotask(() => {
      this.#scheduled = false;
      if (!this.isConnected) return;
      if (this.loading !== "lazy") return this.verify();
      this.#observer = new IntersectionObserver((entries) => {
        if (entries.some((entry) => entry.isIntersecting)) this.verify();
      });
      this.#observer.observe(this);
    });
  }

  #stop(): void {
    this.#run?.abort();
    this.#observer?.disconnect();
    this.#run = this.#observer = undefined;
  }

  #show(state: State, report?: Report, error?: Error): void {
    this.#state = state;
    this.#report = report;
    this.#error = error;
    if (state === "loading") this.#verified = 0;
    this.setAttribute("state", state);
    this.#render();
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
    if (holder.dataset["state"] !== this.#state) {
      holder.dataset["state"] = this.#state;
      holder.innerHTML = icon(this.#state);
    }
    button.setAttribute("aria-busy", String(this.#state === "loading"));
    button.setAttribute("aria-disabled", String(this.#state === "loading"));
    this.#find(".lineage").textContent = `${strings.lineage}:`;
    this.#find(".state").textContent = strings.states[this.#state];
    this.#find(".rest").textContent = this.#facts(language, strings)
      .map((fact) => `, ${fact}`)
      .join("");
    const { did, identity } = this.#report ?? {};
    this.#find(".identity").textContent =
      did && identity === "self-asserted" ? ", " + fill(strings.by, { did: `${did.slice(8, 13)}…${did.slice(-5)}` }) : "";
  }

  /** What the badge says after its state. */
  #facts(language: string, strings: Strings): string[] {
    const report = this.#report;
    if (!report) return this.#state === "loading" && this.#verified > 0 ? [count(strings.checkpoints, this.#verified, language)] : [];
    const facts = [count(strings.checkpoints, report.checkpoints, language)];
    const problem = report.problems[0];
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
    title.innerHTML = icon(this.#state);
    title.append(`${strings.lineage}: ${strings.states[this.#state]}`);
    dialog.append(title, ...this.#details(language, strings), this.#buttons(dialog, strings));
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
    }
    const close = element("button", { type: "button" }, strings.close);
    close.addEventListener("click", () => dialog.close());
    footer.append(close);
    return footer;
  }

  #details(language: string, strings: Strings): HTMLElement[] {
    const report = this.#report;
    if (!report) return [element("p", inEnglish, this.#error?.message)];
    const { rows } = strings;
    const number = new Intl.NumberFormat(language);
    const list = element("dl");
    const row = (name: string, ...values: (string | Node | undefined)[]) => {
      const given = values.filter((value) => value !== undefined);
      if (given.length > 0) list.append(element("dt", {}, name), element("dd", {}, ...given));
    };
    const code = (text: string | undefined) => text && element("code", {}, text);
    const line = (text: string) => element("div", {}, text);
    if (report.did) {
      row(rows.identity, code(report.did), line(report.identity === "pinned" ? strings.pinned : strings.selfAsserted));
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
    const sentences = [report.proves, report.doesNotProve].map((text) => element("p", inEnglish, ...identified(text)));
    if (report.problems.length === 0) return [...sentences, list];
    const problems = element("ul");
    for (const { code, name, tick, message, expected, found } of report.problems.slice(0, maxProblems)) {
      const where = [name, tick && fill(strings.atTick, { tick })].filter(Boolean).join(", ");
      problems.append(
        element(
          "li",
          {},
          element("span", { class: "code" }, element("code", {}, code)),
          element("div", inEnglish, message),
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

/** A text with its DIDs and CIDs as code. */
function identified(text: string): (Node | string)[] {
  return text.split(/(did:key:\w+|bafkrei\w+)/).map((part, i) => (i % 2 ? element("code", {}, part) : part));
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
