// The attributes of <igor-lineage>, as a template may write them.

interface Common {
  /** The history: the URL of a CAR, or those of its checkpoints, separated by spaces. */
  src?: string;
  /** In the place of src: a server that has the life of the did, as igor publish and igor serve publish it. */
  from?: string;
  /** The CID of a checkpoint that has to be in the history. */
  head?: string;
  /** With `lazy`, nothing is fetched before the badge comes into view. */
  loading?: "lazy" | "eager";
  /** After so many seconds the history is asked for again. */
  refresh?: number | string;
  /** When less than 1 KiB comes in so many seconds, the badge gives up; 30 without it. */
  timeout?: number | string;
  /** The site to which the details lead those who want to check it themselves. */
  verifier?: string;
}

/** With `pinned`, a did has to be there: where one is missing at run time, nothing is verified. */
interface Pinned extends Common {
  pinned: true | "";
  /** The identity that is expected, `did:key:z6Mk…`. */
  did: string;
}

interface Unpinned extends Common {
  pinned?: never;
  /** The identity that is expected, `did:key:z6Mk…`. Leave it out to expect none. */
  did?: string;
}

export type IgorLineageAttributes = Pinned | Unpinned;
