// What is given by itself and is no history: a policy, and what is looked at beside one.

import { roleOf } from "./check.ts";
import type { Found } from "./collect.ts";
import { foreign, h } from "./dom.ts";
import { isPolicy, maxPolicy } from "./pins.ts";

/** More files than this are a history. */
const most = 32;

/** A file that may be a policy, by its name. */
const policyName = /(\.(policy|txt)|(^|\/)[^.]*)$/i;

/** The text of a file, if it is a policy. */
export async function policyOf(file: Blob & { readonly name?: string }): Promise<string | undefined> {
  if (file.size === 0 || file.size > maxPolicy || !policyName.test(file.name ?? "")) return undefined;
  const text = await file.text().catch(() => ""); // a folder that was dropped
  return isPolicy(text) ? text : undefined;
}

export interface Besides {
  /** A policy that is among them. */
  readonly policy?: string | undefined;
  /** What is looked at beside a history. */
  readonly others: readonly File[];
  /** Whether there is nothing else. */
  readonly only: boolean;
}

/** Says what of the files that were given by themselves is no history. */
export async function besides(files: readonly File[]): Promise<Besides> {
  if (files.length === 0 || files.length > most) return { others: [], only: false };
  const others: File[] = [];
  let policy: string | undefined;
  let rest = 0;
  for (const file of files) {
    const text = await policyOf(file);
    if (text !== undefined) policy ??= text;
    else if (await roleOf(file).catch(() => "")) others.push(file);
    else rest++;
  }
  return { policy, others, only: rest === 0 };
}

/** What was given without a history. */
export class Kept {
  readonly #place: HTMLElement;
  readonly #list: HTMLElement;
  #files: File[] = [];

  constructor(place: HTMLElement, list: HTMLElement) {
    this.#place = place;
    this.#list = list;
  }

  add(files: readonly File[]): void {
    const names = new Set(files.map(({ name }) => name));
    this.#files = [...this.#files.filter(({ name }) => !names.has(name)), ...files];
    this.#show();
  }

  clear(): void {
    this.#files = [];
    this.#show();
  }

  /** What was given, with what was kept. A policy among the files is no part of the history. */
  async *with(found: AsyncIterable<Found>): AsyncGenerator<Found> {
    for await (const one of found) if (one.folder !== "" || !one.file || (await policyOf(named(one.file, one.name))) === undefined) yield one;
    for (const file of this.#files) yield { name: file.name, file, folder: "" };
  }

  #show(): void {
    this.#place.hidden = this.#files.length === 0;
    this.#list.replaceChildren(
      ...this.#files.map((file) =>
        h("li", {}, foreign(file.name), h("button", { type: "button", class: "quiet", click: () => this.#remove(file) }, "Remove", h("span", { class: "visually-hidden" }, ` ${file.name}`))),
      ),
    );
  }

  #remove(file: File): void {
    this.#files = this.#files.filter((other) => other !== file);
    this.#show();
  }
}

/** A file under the name that it was given with. */
function named(file: Blob, name: string): Blob & { name: string } {
  return { size: file.size, text: () => file.text(), name } as Blob & { name: string };
}
