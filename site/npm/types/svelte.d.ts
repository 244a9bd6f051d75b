// <igor-lineage> in Svelte's templates.

import type { HTMLAttributes } from "svelte/elements";
import type { IgorLineageElement, LineageErrorEvent, LineageReportEvent } from "./badge/element.js";
import type { IgorLineageAttributes } from "./attributes.js";

declare module "svelte/elements" {
  interface SvelteHTMLElements {
    "igor-lineage": HTMLAttributes<IgorLineageElement> &
      IgorLineageAttributes & {
        "onigor-lineage-report"?: (event: LineageReportEvent) => void;
        "onigor-lineage-error"?: (event: LineageErrorEvent) => void;
      };
  }
}
