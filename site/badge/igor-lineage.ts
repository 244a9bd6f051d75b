// Registers <igor-lineage>. Import element.ts instead to register the class
// under another name, or later.

import { IgorLineageElement } from "./element.ts";

if (!customElements.get("igor-lineage")) customElements.define("igor-lineage", IgorLineageElement);
