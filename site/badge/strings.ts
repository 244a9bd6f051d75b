import type { ProblemCode } from "../verify/api.ts";

/** The states of a badge. Only `verified` means that the lineage was verified, and `error` that there is no verdict. */
export type State = "loading" | "verified" | "incomplete" | "invalid" | "error";

/** How a badge looks: as its state, but a verified history that nobody pinned is only `unbroken`. */
export type Look = State | "unbroken";

/**
 * The words of a badge, in one language. In braces stands what is put in: {n} a number,
 * {did}, {tick} and {name} what they say. A plural has a form for each category of
 * `Intl.PluralRules` that the language has, `other` at least.
 *
 * The sentences of the report itself are English in every language.
 */
export interface Strings {
  /** What the badge is about; stands before the state. */
  readonly lineage: string;
  readonly states: Readonly<Record<Look, string>>;
  /** Stands after the state of a verified history whose identity was pinned. */
  readonly expectedAgent: string;
  readonly checkpoints: Plural;
  readonly noGaps: string;
  readonly by: string;
  /** Stands in the place of `by` where checkpoints are by several keys, of which none is the agent's before somebody pins it. */
  readonly byKeys: Plural;
  readonly otherKeys: Plural;
  readonly atTick: string;
  readonly problems: Readonly<Record<ProblemCode, string>>;
  readonly more: Plural;
  /** Stands before the reason why there is no verdict. */
  readonly noVerdict: string;
  readonly retry: string;
  /** Stands before the link to an independent verifier. */
  readonly pageSays: string;
  /** The link to an independent verifier, whose host is {site}. */
  readonly elsewhere: string;
  readonly save: string;
  readonly close: string;
  /** The rows of the details. */
  readonly rows: Readonly<
    Record<"verdict" | "identity" | "key" | "checkpoints" | "ticks" | "size" | "genesis" | "head" | "programs" | "duplicates" | "verifier", string>
  >;
  readonly pinned: string;
  readonly selfAsserted: string;
  readonly headPinned: string;
  readonly headUnpinned: string;
  readonly bytes: Plural;
  readonly expected: string;
  readonly found: string;
}

export type Plural = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>;

export const english: Strings = {
  lineage: "agent lineage",
  states: {
    loading: "verifying",
    verified: "verified",
    unbroken: "unbroken",
    incomplete: "incomplete",
    invalid: "invalid",
    error: "could not be checked",
  },
  expectedAgent: "the expected agent",
  checkpoints: { one: "{n} checkpoint", other: "{n} checkpoints" },
  noGaps: "no gaps",
  by: "by {did}, self-asserted",
  byKeys: { one: "by {n} key", other: "by {n} keys" },
  otherKeys: { one: "{n} other key", other: "{n} other keys" },
  atTick: "at tick {tick}",
  problems: {
    empty: "an empty file",
    truncated: "a truncated file",
    "unsupported-version": "a file of an unknown version",
    "unsigned-version": "an unsigned checkpoint",
    "weak-key": "a weak key",
    "bad-signature": "a bad signature",
    "negative-budget": "a negative budget",
    "negative-price": "a negative price",
    "identity-mismatch": "another identity",
    fork: "a fork",
    "tick-order": "ticks out of order",
    "missing-genesis": "its beginning is missing",
    gap: "a gap",
    "head-not-found": "its head is missing",
    "not-witnessed": "its head is not witnessed",
  },
  more: { one: "and {n} more problem", other: "and {n} more problems" },
  noVerdict: "There is no verdict: the history may be good or bad.",
  retry: "Try again",
  pageSays: "All of this is the word of the page that shows it.",
  elsewhere: "Check it yourself at {site}",
  save: "Save report",
  close: "Close",
  rows: {
    verdict: "Verdict",
    identity: "Identity",
    key: "Key",
    checkpoints: "Checkpoints",
    ticks: "Ticks",
    size: "Size",
    genesis: "Genesis",
    head: "Head",
    programs: "WASM binaries",
    duplicates: "Duplicates",
    verifier: "Verifier",
  },
  pinned: "pinned by this page: the agent that it says to expect",
  selfAsserted: "self-asserted: whoever made this history holds this key, and this page does not say whom it expects",
  headPinned: "pinned by this page: the checkpoint that it says to expect is in it",
  headUnpinned: "newer checkpoints may exist: this page does not say which it expects",
  bytes: { one: "{n} byte", other: "{n} bytes" },
  expected: "expected",
  found: "found",
};

/** Puts values in the place of their names. */
export function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

/** Writes a number and what it counts. */
export function count(forms: Plural, n: number, language: string): string {
  const form = forms[new Intl.PluralRules(language).select(n)] ?? forms.other;
  return fill(form, { n: new Intl.NumberFormat(language).format(n) });
}
