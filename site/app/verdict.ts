import { english } from "../badge/strings.ts";
import type { Problem, Report } from "../verify/report.ts";
import { copyButton, count, h, mark, size, type Mark } from "./dom.ts";
import { likely } from "./explain.ts";
import { short } from "./format.ts";

/** How many problems are shown at first, so that what follows them is found, and how many more at a time. */
const problemsFirst = 6;
const problemsMore = 20;

const words = { verified: "Verified", incomplete: "Incomplete", invalid: "Invalid" };

const incompleteCodes: readonly string[] = ["missing-genesis", "gap", "head-not-found"];

/** Whether a problem is that something was not supplied. */
export function isMissing(problem: Problem): boolean {
  return incompleteCodes.includes(problem.code);
}

function ticks({ firstTick, lastTick }: Report): string | undefined {
  if (firstTick === undefined || lastTick === undefined) return undefined;
  return firstTick === lastTick ? `tick ${firstTick}` : `ticks ${firstTick} to ${lastTick}`;
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
  const at = code === "missing-genesis" ? "" : tick !== undefined ? ` at tick ${tick}` : name !== undefined ? `, ${short(name)}` : "";
  const more = problems.length > 1 ? `, and ${(problems.length - 1).toLocaleString("en")} more` : "";
  return english.problems[code] + at + more;
}

/** The verdict, large, and what it means. Its heading can be focused. */
export function verdictPanel(report: Report, seconds: number): HTMLElement {
  const { verdict } = report;
  const why = cause(report);
  return h(
    "section",
    { class: `verdict ${verdict}`, "aria-labelledby": "verdict" },
    h(
      "div",
      { class: "head" },
      mark(verdict),
      h(
        "div",
        {},
        h("h1", { id: "verdict", tabindex: -1 }, words[verdict]),
        h("p", { class: "sum num" }, summary(report)),
        why && h("p", { class: "cause num" }, "Why: ", h("a", { href: "#problems" }, why)),
      ),
    ),
    h(
      "div",
      { class: "body" },
      h(
        "div",
        { class: "claims" },
        h("div", {}, h("h2", {}, "What this proves"), h("p", {}, ...sentence(report.proves, short))),
        h("div", {}, h("h2", {}, "What it does not prove"), h("p", {}, ...sentence(report.doesNotProve, short))),
      ),
      questions(report, seconds),
      names(report),
    ),
  );
}

/** A sentence with its DIDs, CIDs and keys as code, as write has them. */
function sentence(text: string, write = (id: string) => id): (Node | string)[] {
  return text.split(/(did:key:z\w+|bafkrei\w{52}|\b[0-9a-f]{64}\b)/).map((part, i) => (i % 2 === 1 ? h("code", { title: part }, write(part)) : part));
}

/** What to compare with what one knows, and to keep: the whole DID and the whole CID of the head. */
function names({ did, head }: Report): HTMLElement | undefined {
  const list = h("dl", { class: "names" });
  const add = (term: string, what: string, text: string | undefined) => {
    if (text) list.append(h("div", {}, h("dt", {}, term), h("dd", {}, h("code", {}, text), copyButton(() => text, what))));
  };
  add("Identity (DID)", "the DID", did);
  add("Head (CID)", "the CID of the head", head);
  return list.children.length > 0 ? list : undefined;
}

/** The four questions, which no single word answers. */
function questions(report: Report, seconds: number): HTMLElement {
  const { signatures, checkpoints, duplicates, verdict } = report;
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

  ask(
    "Was all of it checked?",
    "yes",
    "Yes",
    `${count(checkpoints, "checkpoint")}, ${size(report.bytes)}, in ${duration(seconds)}`,
    duplicates > 0 && `${count(duplicates, "identical copy").replace("copys", "copies")} ignored`,
  );
  ask(
    "Is it intact?",
    wrong > 0 ? "invalid" : "yes",
    wrong > 0 ? "No" : "Yes",
    signatures.invalid > 0 ? `${count(signatures.invalid, "signature")} of ${checkpoints} not valid` : signatures.valid > 0 ? count(signatures.valid, "valid signature") : "nothing in it is signed",
    unsigned > 0 && checkpoints > unsigned && `${count(unsigned, "checkpoint")} without a signature`,
    wrong > 0 && signatures.valid === checkpoints && "but what they say is not one life",
  );
  const missing = has(report, "missing-genesis", "gap", "head-not-found");
  const ends = report.completeness === "head-pinned" ? "the head you know is in it" : "no head was given, so newer ones may exist";
  if (missing) {
    const reasons = [
      has(report, "missing-genesis") && "its beginning is missing",
      has(report, "gap") && "something between is missing",
      has(report, "head-not-found") && "the head you know is missing",
    ];
    ask("Is it whole?", verdict === "invalid" ? "invalid" : "incomplete", "No", reasons.filter(Boolean).join(", "));
  } else if (has(report, "fork")) ask("Is it whole?", "invalid", "It forks", "more than one future was supplied");
  else if (verdict === "invalid") ask("Is it whole?", "open", "Not known", "what is wrong has to be put right first");
  else ask("Is it whole?", "yes", "Yes, from its genesis", ends);

  const did = short(report.did ?? "");
  if (!report.did) ask("Is it who you expect?", "open", "Not known", "nothing in it names a key");
  else if (report.identity === "self-asserted") {
    ask("Is it who you expect?", "open", "You did not say", `compare its identity, ${did}, with the one that the agent’s owner publishes`);
  }
  else if (has(report, "identity-mismatch")) ask("Is it who you expect?", "invalid", "No", did);
  else if (signatures.valid === 0) ask("Is it who you expect?", "open", "Not known", "nothing in it is signed");
  else ask("Is it who you expect?", "yes", "Yes", did);
  return list;
}

/** Every problem, explained. Inspect is called with the name of a problem's file. */
export function problemsSection(report: Report, inspect: (name: string) => (() => void) | undefined): HTMLElement {
  const { problems } = report;
  const list = h("ol", { class: "problems" });
  const more = h("button", { type: "button", class: "more" });
  const explained = new Set<string>();
  let shown = 0;
  const show = () => {
    const first = shown;
    shown = Math.min(shown + (first > 0 ? problemsMore : problemsFirst), problems.length);
    for (const problem of problems.slice(first, shown)) {
      list.append(problemItem(problem, inspect, !explained.has(problem.code)));
      explained.add(problem.code);
    }
    const left = problems.length - shown;
    more.hidden = left === 0;
    more.textContent = `Show ${Math.min(left, problemsMore)} more of ${left.toLocaleString("en")}`;
    if (first > 0) (list.children[first] as HTMLElement).focus();
  };
  more.addEventListener("click", show);
  show();
  const one = problems.length === 1;
  const repeated = new Set(problems.map(({ code }) => code)).size < problems.length;
  return h(
    "section",
    { class: "section", "aria-labelledby": "problems" },
    h("h2", { id: "problems" }, one ? "The problem" : `${problems.length.toLocaleString("en")} problems`),
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
  return h("ul", { class: "tally num" }, ...[...counts].map(([code, n]) => h("li", {}, h("b", {}, n.toLocaleString("en")), " ", h("code", {}, code))));
}

function problemItem(problem: Problem, inspect: (name: string) => (() => void) | undefined, explain: boolean): HTMLElement {
  const { code, name, tick, message, expected, found } = problem;
  const missing = isMissing(problem);
  const at = [name, tick !== undefined && `tick ${tick}`].filter(Boolean).join(", ");
  const open = name === undefined ? undefined : inspect(name);
  const facts = h("dl", {});
  if (expected !== undefined) facts.append(h("dt", {}, "Expected"), h("dd", {}, ...sentence(expected)));
  if (found !== undefined) facts.append(h("dt", {}, "Found"), h("dd", {}, ...sentence(found)));
  return h(
    "li",
    { class: missing ? "panel problem missing" : "panel problem", tabindex: -1 },
    h(
      "header",
      {},
      mark(missing ? "incomplete" : "invalid"),
      h("code", {}, code),
      at ? h("span", { class: "at mono" }, at) : undefined,
      open && h("button", { type: "button", class: "quiet", click: open }, "Inspect", h("span", { class: "visually-hidden" }, ` ${name}`)),
    ),
    h("p", { class: "message" }, `${message[0]!.toUpperCase()}${message.slice(1)}.`),
    facts.children.length > 0 && facts,
    explain && h("p", { class: "likely" }, h("b", {}, "Most likely: "), likely[code]),
  );
}
