// Registers <igor-lineage>, where there is a DOM. Import element.ts instead to
// register the class under another name, or later.

import { IgorLineageElement } from "./element.ts";

if (globalThis.customElements && !customElements.get("igor-lineage")) customElements.define("igor-lineage", IgorLineageElement);
