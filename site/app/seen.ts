// What lies beside a history says two things in a word: whether others saw its newest
// checkpoint, and whom its key succeeds. Neither is good for what was not shown.

import type { Report } from "../verify/report.ts";
import { visible, whole, type Mark } from "./dom.ts";
import { short } from "./format.ts";
import type { Life } from "./life.ts";
import { namedBy, witnesses, witnessesOf, type Pins } from "./pins.ts";

export interface Answer {
  readonly mark: Mark;
  readonly words: string;
  readonly details: readonly (string | false)[];
}

/** A time of a report, for people. */
const when = (time: string) => time.replace("T", " ").replace("Z", " UTC");

/** Whether others saw the newest checkpoint; undefined where nothing is known of that. */
export function seen(report: Report, pins: Pins, life: Life): Answer | undefined {
  const { witnessed, head } = report;
  if (!witnessed) {
    const lies = report.notLookedAt?.some(({ kind }) => kind === "witness");
    return lies ? { mark: "open", words: "You named no witnesses", details: ["a proof lies with it: under “Say what you expect”, say which witnesses you believe, and verify it again"] } : undefined;
  }
  const { problem, head: checkpoint = "", tick = "0", log = "", index = "0", before, cosigners = [], monitor } = witnessed;
  if (problem !== undefined) return { mark: "invalid", words: "No", details: [`not shown: ${visible(problem)}`] };
  const of = Math.max(witnessesOf(pins.policy.value), cosigners.length);
  const who = cosigners.length > 0 ? `Seen by ${cosigners.length} of ${witnesses(of)}` : "Logged, seen by no witness";
  const details = [
    before !== undefined && `existed before ${when(before)}`,
    cosigners.length > 0 && `cosigned by ${cosigners.map(({ name }) => visible(name)).join(", ")}`,
    `entry ${whole(index)} of the log ${visible(log)}`,
    pins.policy.by !== "you" && `by the policy that was ${namedBy[pins.policy.by]}`,
  ];
  if (monitor && monitor.forks !== "0") return { mark: "invalid", words: "The key lived twice", details: [`${visible(monitor.name)} has proofs`, ...details] };
  if (monitor && monitor.latest !== checkpoint) return { mark: "invalid", words: "A newer head was logged", details: [`at tick ${whole(monitor.tick)}, says ${visible(monitor.name)}`, ...details] };
  const told = monitor && `no newer one up to entry ${whole(monitor.size)}, says ${visible(monitor.name)}${pins.monitor.by === "you" ? "" : `, a monitor that was ${namedBy[pins.monitor.by]}`}`;
  if (checkpoint !== head) {
    if (life.find(checkpoint) !== undefined) return { mark: "incomplete", words: `Up to tick ${whole(tick)}`, details: ["what came after it is not shown to be logged", ...details, told ?? false] };
    if (BigInt(tick) > BigInt(report.lastTick ?? 0)) return { mark: "incomplete", words: "A newer one was", details: [`the agent said that it is at tick ${whole(tick)}: this history ends before`, ...details] };
    return { mark: "invalid", words: "Another one was", details: [`the agent said that it was at ${short(checkpoint)} after tick ${whole(tick)}, which is not in this history: it lived twice, or this is not all of it`, ...details] };
  }
  // By a policy that asks no witness, or that somebody else named, nothing is shown to the visitor.
  return { mark: pins.policy.by === "you" && before !== undefined ? "yes" : "open", words: who, details: [...details, told ?? false] };
}

/** Whom the key succeeds; undefined where nobody says. */
export function succeeds({ succeeds: it }: Report, pins: Pins): Answer | undefined {
  if (!it) return undefined;
  const { problem, did = "", tick = "0", life, committedBefore, log = "" } = it;
  if (problem !== undefined) return { mark: "invalid", words: "No", details: [`a statement lies with it, and shows nothing: ${visible(problem)}`] };
  const chosen = committedBefore !== undefined;
  return {
    mark: chosen && pins.policy.by === "you" ? "yes" : "open",
    words: `It succeeds ${short(did)}`,
    details: [
      `both keys signed that it goes on where that one stopped, after tick ${whole(tick)}`,
      chosen
        ? `the old key had chosen this one before ${when(committedBefore)}, as witnesses of ${visible(log)} saw`
        : "nobody witnessed that the old key had chosen this one: whoever stole it could have signed the same",
      chosen && pins.policy.by !== "you" && `by the policy that was ${namedBy[pins.policy.by]}`,
      life === undefined && "whether the old life is whole, igor-verify --predecessor OLD NEW says",
    ],
  };
}
