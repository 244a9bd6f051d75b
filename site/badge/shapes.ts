import type { Look } from "./strings.ts";

type Part = readonly [tag: string, attributes: Readonly<Record<string, string>>];

const stroke = { fill: "none", stroke: "currentColor", "stroke-width": "2.4" };
const round = { "stroke-linecap": "round" };
const disc = { fill: "currentColor" };

// The shapes are those of site/pages/layout.html, which a test holds against these: a
// disc with a check mark, a triangle with an exclamation mark, an octagon with a cross,
// a square with a question mark. Two links of a chain and a ring that turns are the badge's alone.
const shapes: Readonly<Record<Look, readonly Part[]>> = {
  verified: [
    ["circle", { cx: "12", cy: "12", r: "11.5", ...disc }],
    ["path", { class: "cut", d: "M6.6 12.6l3.7 3.6 7.1-8", fill: "none", "stroke-width": "2.6", ...round, "stroke-linejoin": "round" }],
  ],
  unbroken: [
    ["rect", { x: "1.4", y: "7.2", width: "13", height: "9.6", rx: "4.8", ...stroke }],
    ["rect", { x: "9.6", y: "7.2", width: "13", height: "9.6", rx: "4.8", ...stroke }],
  ],
  incomplete: [
    ["path", { d: "M12 1.2 23.4 21.8H.6z", ...disc, stroke: "currentColor", "stroke-width": "1", "stroke-linejoin": "round" }],
    ["path", { class: "cut", d: "M12 8.2v6.6M12 17.6v1.9", fill: "none", "stroke-width": "2.5", "stroke-linecap": "butt" }],
  ],
  invalid: [
    ["path", { d: "M7.2.6h9.6l6.6 6.6v9.6l-6.6 6.6H7.2L.6 16.8V7.2z", ...disc }],
    ["path", { class: "cut", d: "M7.8 7.8l8.4 8.4M16.2 7.8l-8.4 8.4", fill: "none", "stroke-width": "2.6", ...round }],
  ],
  error: [
    ["rect", { x: "1.5", y: "1.5", width: "21", height: "21", rx: "3", ...stroke }],
    ["path", { d: "M8.8 9.4a3.2 3.2 0 1 1 4.9 2.7c-1.1.7-1.7 1.3-1.7 2.6M12 17.4v.2", ...stroke, ...round }],
  ],
  loading: [["path", { class: "ring", d: "M12 2a10 10 0 1 1-10 10", ...stroke, ...round }]],
};

function svg(tag: string, attributes: Readonly<Record<string, string>>): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The picture of a badge's look. It is made of elements, not of HTML, which a page that enforces Trusted Types would refuse. */
export function icon(look: Look): SVGElement {
  const made = svg("svg", { class: "icon", part: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" });
  made.append(...shapes[look].map(([tag, attributes]) => svg(tag, attributes)));
  return made;
}
