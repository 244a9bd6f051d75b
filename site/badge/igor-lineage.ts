import { IgorLineageElement } from "./element.ts";

customElements.define("igor-lineage", IgorLineageElement);
