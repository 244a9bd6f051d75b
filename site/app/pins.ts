// What a history is held to, and whose word that is. A pin that came with a link is checked
// as any other, but it is not what the visitor expects: whoever made the link chose it.

/** Who named a pin: the visitor, the link that they followed, the files that it came with, or the page with its samples. */
export type Namer = "you" | "link" | "files" | "page";

export interface Pin {
  readonly value: string;
  readonly by: Namer;
}

export interface Pins {
  readonly did: Pin;
  readonly head: Pin;
  /** The logs and witnesses that are believed: a c2sp.org/tlog-policy. */
  readonly policy: Pin;
  /** The key of a monitor whose word is taken. */
  readonly monitor: Pin;
  /** Whether the head has to be witnessed. */
  readonly require: boolean;
}

const nothing: Pin = { value: "", by: "you" };

export const unpinned: Pins = { did: nothing, head: nothing, policy: nothing, monitor: nothing, require: false };

/** How it is said who named a pin. */
export const namedBy: Readonly<Record<Namer, string>> = {
  you: "named by you",
  link: "named by the link, not by you",
  files: "given with the history, not by you",
  page: "named by this page, with its sample",
};

/** Whether a text that was pasted or dropped is a policy: it names a log by its key. */
export function isPolicy(text: string): boolean {
  return /^[ \t]*log[ \t]+\S+\+[0-9a-f]{8}\+\S/m.test(text);
}

/** The largest policy: witness.MaxPolicy. */
export const maxPolicy = 64 << 10;

/** How many witnesses a policy names. */
export function witnessesOf(policy: string): number {
  return policy.split("\n").filter((line) => /^[ \t]*witness[ \t]/.test(line)).length;
}

/** That many, in words. */
export function witnesses(n: number): string {
  return n === 0 ? "no witness" : n === 1 ? "1 witness" : `${n} witnesses`;
}

/** A report's text as it is saved: where a pin was not the visitor's own, `pinnedBy` says whose it was. */
export function savedReport(json: string, { did, head, policy, monitor }: Pins): string {
  const others = Object.entries({ did, head, policy, monitor }).filter(([, { value, by }]) => value !== "" && by !== "you");
  if (others.length === 0) return json;
  const list = others.map(([pin, { by }]) => `    {"pin": "${pin}", "by": "${by}"}`).join(",\n");
  return json.replace(/\n(?=  "verifier": )/, () => `\n  "pinnedBy": [\n${list}\n  ],\n`);
}

/** A field that a pin is typed into. What a link put there is the link's, until somebody writes there. */
export class PinField {
  readonly input: HTMLInputElement | HTMLTextAreaElement;
  readonly #note: HTMLElement;
  #fromLink = "";

  constructor(input: HTMLInputElement | HTMLTextAreaElement, note: HTMLElement) {
    this.input = input;
    this.#note = note;
    input.addEventListener("input", () => {
      this.#fromLink = "";
      this.#show();
    });
  }

  /** Puts in what a link says, or what the visitor wrote on another page. */
  set(value: string, by: "you" | "link"): void {
    this.input.value = value.trim();
    this.#fromLink = by === "link" ? this.input.value : "";
    this.#show();
  }

  get pin(): Pin {
    const value = this.input.value.trim();
    return { value, by: value !== "" && value === this.#fromLink ? "link" : "you" };
  }

  markWrong(wrong: boolean): void {
    if (wrong) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  #show(): void {
    this.#note.textContent = this.#fromLink ? "Named by the link, not by you." : "";
  }
}
