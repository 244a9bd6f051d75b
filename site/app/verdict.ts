import { english } from "../badge/strings.ts";
import type { Life, Problem, Report, Verdict } from "../verify/report.ts";
import { copyButton, count, foreign, h, mark, size, visible, whole, type Mark } from "./dom.ts";
import { likely } from "./explain.ts";
import { short } from "./format.ts";
import type { Life as Rows } from "./life.ts";
import { namedBy, type Pins } from "./pins.ts";
import { seen, succeeds } from "./seen.ts";

/** How many problems are shown at first, so that what follows them is found, and how many more at a time. */
const problemsFirst = 3;
const problemsMore = 20;

/** How many keys of a mixed pile are named. */
const livesShown = 6;

/** How a verdict looks: a verified history that the visitor did not pin is only unbroken, whoever made it. */
export type Look = Verdict | "unbroken";

const words: Readonly<Record<Look, string>> = { verified: "Verified", unbroken: "Unbroken", incomplete: "Incomplete", invalid: "Invalid" };

const incompleteCodes: readonly string[] = ["missing-genesis", "gap", "head-not-found", "not-witnessed"];

/** Whether a problem is that something was not supplied. */
export function isMissing(problem: Problem): boolean {
  return incompleteCodes.includes(problem.code);
}

export function lookOf({ verdict, identity }: Report, { did }: Pins): Look {
  return verdict === "verified" && !(identity === "pinned" && did.by === "you") ? "unbroken" : verdict;
}

function ticks({ firstTick, lastTick }: Report): string | undefined {
  if (firstTick === undefined || lastTick === undefined) return undefined;
  return firstTick === lastTick ? `tick ${whole(firstTick)}` : `ticks ${whole(firstTick)} to ${whole(lastTick)}`;
}

function duration(seconds: number): string {
  if (seconds < 1) return `${Math.ceil(seconds * 1000)}\u00a0ms`;
  return `${seconds.toLocaleString("en", { maximumFractionDigits: seconds < 10 ? 1 : 0 })}\u00a0s`;
}

function has(report: Report, ...codes: Problem["code"][]): boolean {
  return report.problems.some(({ code }) => codes.includes(code));
}

/** One line under the verdict. */
export function summary(report: Report): string {
  const parts = [count(report.checkpoints, "checkpoint"), ticks(report)];
  if (report.verdict === "verified") parts.push("no gaps");
  else parts.push(count(report.problems.length, "problem"));
  return parts.filter(Boolean).join(", ");
}

/** What is wrong or missing, in words: the first cause. */
export function cause({ problems }: Report): string | undefined {
  const [first] = problems;
  if (!first) return undefined;
  const { code, tick, name } = first;
  const at = code === "missing-genesis" ? "" : tick !== undefined ? ` at tick ${whole(tick)}` : name !== undefined ? `, ${visible(short(name))}` : "";
  const more = problems.length > 1 ? `, and ${whole(problems.length - 1)} more` : "";
  return english.problems[code] + at + more;
}

/** Whose history it is, as far as anybody said. */
function whose(report: Report, look: Look, { did }: Pins): string | undefined {
  if (look === "verified") return "The agent that you expect.";
  if (look !== "unbroken") return undefined;
  if (did.by === "link" && did.value) return "By the key that the link names. Whose it is, is the word of whoever made the link.";
  if (did.value) return "By the key that this page names with its sample.";
  return "Somebody’s whole history. Whose, you did not say, and anybody can make one.";
}

/** The verdict, large, and what it means. Its heading can be focused. */
export function verdictPanel(report: Report, pins: Pins, life: Rows, seconds: number, given: string, fetched?: HTMLElement): HTMLElement {
  const look = lookOf(report, pins);
  const why = cause(report);
  const who = whose(report, look, pins);
  const mixed = report.identity === "self-asserted" ? report.lives : undefined;
  return h(
    "section",
    { class: `verdict ${look}`, "aria-labelledby": "verdict" },
    h(
      "div",
      { class: "head" },
      mark(look),
      h(
        "div",
        {},
        h("h1", { id: "verdict", tabindex: -1 }, words[look]),
        who && h("p", { class: "who" }, who),
        h("p", { class: "sum num" }, summary(report), given && ", from ", given && h("span", { class: "given" }, foreign(given))),
        why && h("p", { class: "cause num" }, "Why: ", h("a", { href: "#problems" }, why)),
        mixed && keys(mixed),
      ),
    ),
    h(
      "div",
      { class: "body" },
      questions(report, pins, life, seconds),
      secretWarning(report),
      h(
        "div",
        { class: "claims" },
        h("div", {}, h("h2", {}, "What this proves"), h("p", {}, ...sentence(report.proves, short))),
        h("div", {}, h("h2", {}, "What it does not prove"), h("p", {}, ...sentence(report.doesNotProve, short), report.identity === "pinned" && pins.did.by !== "you" ? ` Nor whose key it is: the DID was ${namedBy[pins.did.by]}.` : "")),
      ),
      fetched,
      names(report, mixed !== undefined, pins),
    ),
  );
}

/** Every key of a mixed pile, with what it signed. None is the agent's by having signed most. */
function keys(lives: readonly Life[]): HTMLElement {
  const list = h("ul", { class: "keys num" });
  for (const life of lives.slice(0, livesShown)) {
    list.append(
      life.did === undefined
        ? h("li", {}, `${count(life.others, "other key")}: ${count(life.checkpoints, "checkpoint")}`)
        : h("li", {}, h("b", {}, count(life.checkpoints, "checkpoint")), " by ", h("code", {}, life.did)),
    );
  }
  const left = lives.length - livesShown;
  return h("div", {}, h("p", {}, "Histories of more than one key. You did not say which one you mean:"), list, left > 0 && h("p", {}, `and ${count(left, "more key")}; the report has all.`));
}

/** Says that a secret key lay with the history. */
function secretWarning({ notLookedAt = [] }: Report): HTMLElement | undefined {
  const key = notLookedAt.find(({ kind }) => kind === "key");
  if (!key) return undefined;
  return h(
    "p",
    { class: "secret", role: "note" },
    h("b", {}, "The file ", foreign(key.name), " is the agent’s secret key. "),
    "Whoever has it can sign as the agent. It has not left this machine now; but it does not belong to what is given to others. If it was sent to you, tell its owner.",
  );
}

/** A sentence with its DIDs, CIDs and keys as code, as write has them. */
function sentence(text: string, write = (id: string) => id): (Node | string)[] {
  return text.split(/(did:key:z\w+|bafkrei\w{52}|\b[0-9a-f]{64}\b)/).map((part, i) => (i % 2 === 1 ? h("code", { title: part }, write(part)) : foreign(part)));
}

/** What to compare with what one knows, and to keep: the whole DID and the whole CID of the head. */
function names({ did, head, identity, succeeds: succession }: Report, mixed: boolean, pins: Pins): HTMLElement | undefined {
  const list = h("dl", { class: "names" });
  const add = (term: string, what: string, text: string | undefined, note: string | undefined) => {
    if (text) list.append(h("div", {}, h("dt", {}, term), h("dd", {}, h("code", {}, text), copyButton(() => text, what), note && h("span", { class: "hint" }, note))));
  };
  add(mixed ? "Key with most" : "Identity (DID)", "the DID", did, identity === "pinned" ? namedBy[pins.did.by] : undefined);
  if (succession?.did) add("Succeeds (DID)", "the DID that it succeeds", succession.did, undefined);
  add("Head (CID)", "the CID of the head", head, head !== undefined && head === pins.head.value ? namedBy[pins.head.by] : undefined);
  return list.children.length > 0 ? list : undefined;
}

/** The questions, which no single word answers. */
function questions(report: Report, pins: Pins, life: Rows, seconds: number): HTMLElement {
  const { signatures, checkpoints, duplicates, verdict, notLookedAt = [] } = report;
  const unsigned = checkpoints - signatures.valid - signatures.invalid;
  const wrong = report.problems.filter((problem) => !isMissing(problem) && problem.code !== "identity-mismatch").length;

  const list = h("dl", { class: "questions" });
  const ask = (question: string, kind: Mark, answer: string, ...details: (string | undefined | false)[]) =>
    list.append(
      h(
        "div",
        {},
        h("dt", {}, question),
        h(
          "dd",
          {},
          mark(kind),
          h("b", {}, answer),
          ...details.filter(Boolean).map((text) => h("span", { class: "hint num" }, text as string)),
        ),
      ),
    );

  const others = notLookedAt.reduce((sum, { files }) => sum + files, 0);
  ask(
    "Was all of it checked?",
    "yes",
    others > 0 ? "Every checkpoint" : "Yes",
    `${count(checkpoints, "checkpoint")}, ${size(report.bytes)}, in ${duration(seconds)}`,
    duplicates > 0 && `${count(duplicates, "identical copy").replace("copys", "copies")} ignored`,
    others > 0 && `not looked at: ${count(others, "other file")} (${notLookedAt.map(({ kind }) => kinds[kind] ?? kind).join(", ")})`,
  );
  ask(
    "Is it intact?",
    wrong > 0 ? "invalid" : "yes",
    wrong > 0 ? "No" : "Yes",
    signatures.invalid > 0 ? `${count(signatures.invalid, "signature")} of ${whole(checkpoints)} not valid` : signatures.valid > 0 ? count(signatures.valid, "valid signature") : "nothing in it is signed",
    unsigned > 0 && checkpoints > unsigned && `${count(unsigned, "checkpoint")} without a signature`,
    wrong > 0 && signatures.valid === checkpoints && "but what they say is not one life",
  );
  const missing = has(report, "missing-genesis", "gap", "head-not-found", "not-witnessed");
  const ends = report.completeness !== "head-pinned" ? "no head was given, so newer ones may exist" : pins.head.by === "you" ? "the head you know is in it" : `the head is in it that was ${namedBy[pins.head.by]}`;
  if (missing) {
    const reasons = [
      has(report, "missing-genesis") && "its beginning is missing",
      has(report, "not-witnessed") && "its head is not shown to be in a log",
      has(report, "gap") && "something between is missing",
      has(report, "head-not-found") && (pins.head.by === "you" ? "the head you know is missing" : `the head is missing that was ${namedBy[pins.head.by]}`),
    ];
    ask("Is it whole?", verdict === "invalid" ? "invalid" : "incomplete", "No", reasons.filter(Boolean).join(", "));
  } else if (has(report, "fork")) ask("Is it whole?", "invalid", "It forks", "more than one future was supplied");
  else if (verdict === "invalid") ask("Is it whole?", "open", "Not known", "what is wrong has to be put right first");
  else ask("Is it whole?", "yes", "Yes, from its genesis", ends);

  const who = "Is it who you expect?";
  const did = short(report.did ?? "");
  const byYou = pins.did.by === "you";
  if (!report.did) ask(who, "open", "Not known", "nothing in it names a key");
  else if (report.identity === "self-asserted") {
    ask(who, "open", "You did not say", report.lives ? `it has checkpoints by ${count(report.lives.length, "key")}` : `compare its identity, ${did}, with the one that the agent’s owner publishes`);
  } else if (has(report, "identity-mismatch")) ask(who, "invalid", "No", `${did} was ${namedBy[pins.did.by]}`);
  else if (signatures.valid === 0) ask(who, "open", "Not known", "nothing in it is signed");
  else if (!byYou) ask(who, "open", "You did not say", `it is ${did}, ${namedBy[pins.did.by]}: compare it with what the agent’s owner publishes`);
  else ask(who, "yes", "Yes", did);
  const besides = { "Did others see its newest checkpoint?": seen(report, pins, life), "Does its key succeed another?": succeeds(report, pins) };
  for (const [question, answer] of Object.entries(besides)) {
    if (!answer) continue;
    ask(question, answer.mark, answer.words, ...answer.details);
    list.lastElementChild!.className = "wide";
  }
  return list;
}

/** Kinds of files that are no part of a history, in words. */
const kinds: Readonly<Record<string, string>> = {
  handovers: "hand-overs", witness: "proofs of witnesses", succession: "a succession", macos: "macOS’s own", wasm: "WASM", key: "a key", text: "text", html: "web pages", car: "CAR", carv2: "CAR", other: "unknown",
};

/** A checkpoint that a problem is about, and what leads there. */
export interface Place {
  readonly label: string;
  open(): void;
}

/** Every problem, explained. Places are asked for by the problem. */
export function problemsSection(report: Report, places: (problem: Problem) => readonly Place[]): HTMLElement {
  const { problems } = report;
  const list = h("ol", { class: "problems" });
  const more = h("button", { type: "button", class: "more" });
  const explained = new Set<string>();
  let shown = 0;
  const show = () => {
    const first = shown;
    shown = Math.min(shown + (first > 0 ? problemsMore : problemsFirst), problems.length);
    for (const problem of problems.slice(first, shown)) {
      list.append(problemItem(problem, places(problem), !explained.has(problem.code)));
      explained.add(problem.code);
    }
    const left = problems.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${whole(Math.min(left, problemsMore))} more of ${whole(left)}`;
    if (first > 0) (list.children[first] as HTMLElement).focus();
  };
  more.addEventListener("click", show);
  show();
  const one = problems.length === 1;
  const repeated = new Set(problems.map(({ code }) => code)).size < problems.length;
  return h(
    "section",
    { class: "section", "aria-labelledby": "problems" },
    h("h2", { id: "problems" }, one ? "The problem" : `${whole(problems.length)} problems`),
    h(
      "p",
      { class: "hint" },
      one ? "And what it most likely means." : "The first cause comes first. Later ones often follow from it.",
      repeated && " What a problem most likely means stands with the first of its kind.",
    ),
    problems.length > problemsFirst && tally(problems),
    list,
    more,
  );
}

/** How many problems of each kind there are, the first kind first. */
function tally(problems: readonly Problem[]): HTMLElement {
  const counts = new Map<string, number>();
  for (const { code } of problems) counts.set(code, (counts.get(code) ?? 0) + 1);
  return h("ul", { class: "tally num" }, ...[...counts].map(([code, n]) => h("li", {}, h("b", {}, whole(n)), " ", h("code", {}, code))));
}

function problemItem(problem: Problem, places: readonly Place[], explain: boolean): HTMLElement {
  const { code, name, tick, message, expected, found } = problem;
  const missing = isMissing(problem);
  const facts = h("dl", {});
  const fact = (term: string, text: string | undefined) => {
    if (text === undefined) return;
    const id = /did:key:z\w+|bafkrei\w{52}|\b[0-9a-f]{64}\b/.exec(text)?.[0];
    facts.append(h("dt", {}, term), h("dd", {}, ...sentence(text), id && copyButton(() => id, `what was ${term.toLowerCase()}`)));
  };
  fact("Expected", expected);
  fact("Found", found);
  return h(
    "li",
    { class: missing ? "panel problem missing" : "panel problem", tabindex: -1 },
    h(
      "header",
      {},
      mark(missing ? "incomplete" : "invalid"),
      h("code", {}, code),
      (name !== undefined || tick !== undefined) &&
        h("span", { class: "at mono" }, name !== undefined && foreign(name), name !== undefined && tick !== undefined && ", ", tick !== undefined && `tick ${whole(tick)}`),
      h("span", { class: "places" }, ...places.map(({ label, open }) => h("button", { type: "button", class: "quiet", click: open }, label, name !== undefined && h("span", { class: "visually-hidden" }, ` ${visible(name)}`)))),
    ),
    h("p", { class: "message" }, foreign(`${message[0]!.toUpperCase()}${message.slice(1)}.`)),
    facts.children.length > 0 && facts,
    explain && h("p", { class: "likely" }, h("b", {}, "Most likely: "), likely[code]),
  );
}
