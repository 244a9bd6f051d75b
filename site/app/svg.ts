// The badge as an image, the same bytes as `igor-verify --format svg`
// (internal/verifycli/svg.go); a browser test holds one against the other.

import type { Report, Verdict } from "../verify/report.ts";

/** Each look's colour and shape, in a box of 12 by 12. A verified history that nobody pinned is only unbroken. */
const looks: Readonly<Record<Verdict | "unbroken", { colour: string; shape: string }>> = {
  verified: {
    colour: "#1a7f37",
    shape: '<circle cx="6" cy="6" r="6"/><path d="M3.2 6.3l2 2 3.7-4.2" fill="none" stroke="#1a7f37" stroke-width="1.7"/>',
  },
  unbroken: {
    colour: "#1f5f99",
    shape:
      '<path d="M4.7 4.1h-1.5a1.9 1.9 0 0 0 0 3.8h3a1.9 1.9 0 0 0 1.9-1.9M7.3 7.9h1.5a1.9 1.9 0 0 0 0-3.8h-3A1.9 1.9 0 0 0 3.9 6" fill="none" stroke="#fff" stroke-width="1.4"/>',
  },
  incomplete: {
    colour: "#8a5a00",
    shape: '<path d="M6 .3l6 11.2H0z"/><path d="M6 4v3.8M6 8.8v1.5" stroke="#8a5a00" stroke-width="1.6"/>',
  },
  invalid: {
    colour: "#b3202c",
    shape:
      '<path d="M3.5 0h5L12 3.5v5L8.5 12h-5L0 8.5v-5z"/><path d="M3.7 3.7l4.6 4.6M8.3 3.7l-4.6 4.6" stroke="#b3202c" stroke-width="1.7"/>',
  },
};

export function badgeSVG(report: Report): string {
  const [height, padding, shapeSize, gap] = [20, 7, 12, 5];
  const subject = "agent lineage";
  const { verdict } = report;
  const pinned = report.identity === "pinned";
  const { colour, shape } = looks[verdict === "verified" && !pinned ? "unbroken" : verdict];
  const checkpoints = plural(report.checkpoints, "checkpoint");
  const problems = plural(report.problems.length, "problem");
  let status = `${verdict}, ${problems}`;
  if (verdict === "verified") status = `${pinned ? "verified, the expected agent" : "unbroken, self-asserted"}, ${checkpoints}`;
  const said: Record<Verdict, string> = {
    verified: `${pinned ? `the expected agent, ${checkpoints}, no gaps` : `unbroken, but self-asserted, ${checkpoints}`}, head ${report.completeness === "head-pinned" ? "pinned" : "unpinned"}`,
    incomplete: `${problems} in ${checkpoints}; not a whole life`,
    invalid: `${problems} in ${checkpoints}; do not rely on this history`,
  };
  let title = `Agent lineage ${verdict}: ${said[verdict]}`;
  if (report.did && (pinned || !report.lives)) title += `; ${report.did}`;
  const [subjectWidth, statusWidth] = [textWidth(subject), textWidth(status)];
  const left = padding + subjectWidth + padding;
  const total = left + padding + shapeSize + gap + statusWidth + padding;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${height}" viewBox="0 0 ${total} ${height}" role="img" aria-label="${title}">
<title>${title}</title>
<rect width="${total}" height="${height}" rx="4" fill="${colour}"/><path d="M4 0H${left}V20H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#3a3f47"/>
<g fill="#fff" transform="translate(${left + padding} 4)">${shape}</g>
<g fill="#fff" font-family="Verdana,'DejaVu Sans',Geneva,sans-serif" font-size="11" aria-hidden="true">
<text x="${padding}" y="14" textLength="${subjectWidth}">${subject}</text>
<text x="${left + padding + shapeSize + gap}" y="14" textLength="${statusWidth}">${status}</text>
</g>
</svg>
`;
}

function plural(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** About how wide a text is in 11 pixel Verdana. */
function textWidth(text: string): number {
  let tenths = 0;
  for (const c of text) {
    if ("ijl".includes(c)) tenths += 32;
    else if (" ,".includes(c)) tenths += 40;
    else if ("frt".includes(c)) tenths += 44;
    else if ("mw".includes(c)) tenths += 98;
    else tenths += 67;
  }
  return Math.floor((tenths + 9) / 10);
}
