// The few helpers that the pages build their elements with. Text goes in as
// text: nothing of a history is ever read as HTML.

type Child = Node | string | undefined | false;

type Attributes = Record<string, string | number | boolean | undefined | ((event: never) => void)>;

/** Makes an element. A function is a listener for the event of its name. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  fill(element, ...children);
  return element;
}

/** Puts the children, of which some may not be wanted, in the place of those that there are. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child !== undefined && child !== false));
}

/** Returns the element with an id, which the page is known to have. */
export function byID<Type extends HTMLElement = HTMLElement>(id: string): Type {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element as Type;
}

export type Mark = "verified" | "unbroken" | "incomplete" | "invalid" | "error" | "yes" | "open";

/** The shape that stands for a verdict; layout.html has the drawings. */
export function mark(kind: Mark): SVGSVGElement {
  const svgNamespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(svgNamespace, "svg");
  svg.setAttribute("class", `mark ${kind}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(svgNamespace, "use");
  use.setAttribute("href", `#mark-${kind}`);
  svg.append(use);
  return svg;
}

/** Writes a count and its noun, as in "1 checkpoint" and "1,204 checkpoints". */
export function count(n: number | bigint, noun: string): string {
  return `${n.toLocaleString("en")} ${noun}${n == 1 ? "" : "s"}`;
}

/** Writes a size in bytes for people. */
export function size(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  if (unit === 0) return count(bytes, "byte");
  return `${bytes.toLocaleString("en", { maximumFractionDigits: 1 })} ${units[unit]}`;
}

/** Gives the visitor a file. */
export function download(name: string, blob: Blob): void {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  link.click();
  // The browser has the blob by then; some take a moment to begin.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Makes a button copy a text, and say so, to those who see it and to those who hear it. */
export function copyButton(text: () => string, what = "", label = "Copy", look = "quiet"): HTMLElement {
  const said = h("span", { class: "visually-hidden", role: "status" });
  const seen = h("span", {}, label);
  const button = h("button", { type: "button", class: look || undefined }, seen, what && h("span", { class: "visually-hidden" }, ` ${what}`));
  const say = (words: string, aloud = words) => {
    seen.textContent = words;
    said.textContent = aloud;
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      say("Copied");
    } catch {
      say("Not allowed", "Copying is not allowed here");
    }
    clearTimeout(timer);
    timer = setTimeout(() => say(label, ""), 2000);
  });
  return h("span", { class: "copy" }, button, said);
}

/**
 * Characters that are not seen, or turn what is around them: controls, directions of writing, invisible ones. And
 * marks on a letter that has six already, which no script needs and which would cover the lines above and below.
 */
const unseen = /(?<=\p{M}{6})\p{M}|[\0-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu;

function escaped(c: string): string {
  const code = c.codePointAt(0)!;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Writes what is not seen in a text as escapes. */
export function visible(text: string): string {
  return text.replace(unseen, escaped);
}

/** Shows a text that somebody else wrote, as a name of a file: by itself, whatever its direction, and with what is not seen in it as escapes. */
export function foreign(text: string, keep = ""): HTMLElement {
  const element = h("bdi", {});
  let at = 0;
  let escapes: HTMLElement | undefined; // that end at `at`
  for (const { 0: c, index } of text.matchAll(unseen)) {
    if (keep.includes(c)) continue;
    if (!escapes || index > at) element.append(text.slice(at, index), (escapes = h("span", { class: "escape" })));
    escapes.append(escaped(c));
    at = index + c.length;
  }
  element.append(text.slice(at));
  return element;
}

/** Writes a whole number for people, of any size. */
export function whole(n: number | bigint | string): string {
  return BigInt(n).toLocaleString("en");
}
