// What the names of files in a folder say.

/** Whether a file in a folder may be looked at beside the history: docs/spec/lineage.md, "Beside a history". */
export function isBesideName(name: string): boolean {
  return /^(handovers|head\.(tlog-proof|monitor)|success(ion|or\.tlog-proof))$/.test(name);
}
