import type { ProblemCode } from "../verify/report.ts";

/** What most likely happened, and the next step. The report itself says what was found. */
export const likely: Readonly<Record<ProblemCode, string>> = {
  empty: "A copy that was interrupted, or a disk that was full. Ask for this file again.",
  truncated: "A copy or a download that was interrupted. Compare the size with the original’s, and ask for the file again.",
  "unsupported-version":
    "This is not a checkpoint, or one of a later format than this verifier knows. Leave it out if it does not belong to the history.",
  "unsigned-version":
    "An agent from before checkpoints were signed. Its state may be good, but nothing can show it. Only version 0x04 has a lineage.",
  "weak-key":
    "No honest program makes such a key. Somebody made this history up so that any signature fits; treat all of it as forged.",
  "bad-signature":
    "Somebody or something changed this file after it was signed: an edit, a broken disk, a transfer that altered bytes. Compare it with another copy.",
  "negative-budget": "A defect of the program that wrote this checkpoint, or a budget that somebody set by hand.",
  "negative-price": "A defect of the program that wrote this checkpoint, or a price that somebody set by hand.",
  "identity-mismatch":
    "Files of two agents in one folder, or a history that is not the one you meant. Check where the files come from, and the DID that you expect.",
  fork: "The agent ran twice at the same time: restored from a backup, or copied while it lived. If both futures are signed by one key, that is proof of it. Ask its holder which one counts.",
  "tick-order":
    "The program that wrote this checkpoint began counting again, perhaps after it was restored from an older state.",
  "missing-genesis":
    "You have the later part of a life: older checkpoints were pruned, archived elsewhere, or not sent. Ask for the history from its genesis.",
  gap: "A file was left out, or was changed and so no longer is the one that was meant. If a file beside it has a bad signature, that one is the cause.",
  "head-not-found":
    "Your copy is older than the checkpoint that you know, or somebody left out the newest ones. Ask for the history up to that head.",
  "not-witnessed":
    "You asked for a head that others saw. This one was not logged yet, or not where your policy looks: wait, or rely on an older checkpoint that is logged.",
};
