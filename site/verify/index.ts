/**
 * Verifies the signed history of an Igor agent, in the browser and in Node. What is
 * verified never leaves the machine.
 *
 * @example
 * const report = await verifyHistory(input.files, { did: "did:key:z6Mk…" });
 * if (report.verdict === "verified") console.log(`${report.checkpoints} checkpoints`);
 *
 * @module
 */

export * from "./api.ts";
export { fetchLife, type FetchOptions, type Part } from "./published.ts";
