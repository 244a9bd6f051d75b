// <igor-lineage> in Vue's templates.

import type { DefineComponent, HTMLAttributes } from "vue";
import type { IgorLineageAttributes } from "./attributes.js";

declare module "vue" {
  interface GlobalComponents {
    "igor-lineage": DefineComponent<IgorLineageAttributes & HTMLAttributes>;
  }
}
