// Registers <igor-lineage>, with all that it runs in one file but the WASM, which
// it knows by its hash: one `integrity` covers everything.

import "./igor-lineage.ts";

export * from "../verify/api.ts";
export * from "./element.ts";
