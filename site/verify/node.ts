// The package's entry for Node: index.ts with what platform-node.ts provides.

export * from "./index.ts";
