export class IgorLineageElement extends HTMLElement {}
