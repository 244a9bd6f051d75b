// <igor-lineage> in JSX, for React 18 and 19.

import type { DetailedHTMLProps, HTMLAttributes } from "react";
import type { IgorLineageElement } from "./badge/element.js";
import type { IgorLineageAttributes } from "./attributes.js";

declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      "igor-lineage": DetailedHTMLProps<HTMLAttributes<IgorLineageElement>, IgorLineageElement> & IgorLineageAttributes & { class?: string };
    }
  }
}
