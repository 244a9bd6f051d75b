// The life as a picture: ticks on the axis, the budget as a line, the agent's
// binaries as a band below, and everything wrong or missing where it is.

import uPlot from "uplot";
import type { Report } from "../verify/report.ts";
import { copyButton, foreign, h, visible as shown, whole as wholeNumber } from "./dom.ts";
import { money, short } from "./format.ts";
import type { Life } from "./life.ts";
import type { Slices } from "./slices.ts";
import { isMissing } from "./verdict.ts";

/** The strips above and below the budget, in CSS pixels. */
const laneHeight = 40;
const bandHeight = 16;

/** A pointer that moves as far drags, in CSS pixels. */
const dragDistance = 5;

/** A digit on an axis, in CSS pixels. */
const digitWidth = 8;

/** Checkpoints are drawn as points while at least so many pixels are between them. */
const pointSpacing = 7;

const everything = { min: -Infinity, max: Infinity };

export interface Timeline {
  element: HTMLElement;
  /** Moves the cursor to a row, without opening it. */
  select(row: number): void;
}

/** Draws a life. Open is called with the row that the visitor wants to see. */
export function timeline(model: Model, open: (row: number) => void): Timeline {
  const { life } = model;
  const plot = h("div", {
    class: "plot",
    tabindex: 0,
    role: "slider",
    "aria-label": "Checkpoint on the timeline",
    "aria-describedby": "timeline-keys",
    "aria-valuemin": 1,
    "aria-valuemax": life.length,
  });
  const readout = h("div", { class: "readout" });
  const zoomIn = h("button", { type: "button", class: "quiet", "aria-label": "Zoom in" }, "+");
  const zoomOut = h("button", { type: "button", class: "quiet", "aria-label": "Zoom out" }, "−");
  const whole = h("button", { type: "button", class: "quiet" }, "Whole life");
  const element = h(
    "section",
    // One point is no picture.
    { class: "section", "aria-labelledby": "timeline", hidden: model.points < 2 },
    h("h2", { id: "timeline" }, "The life"),
    h(
      "p",
      { class: "hint", id: "timeline-keys" },
      "What was left to spend at each tick. ",
      h("span", { class: "by-mouse" }, "Drag over a part to see it larger. Keys: arrows move, + and − zoom, Enter inspects."),
      h("span", { class: "by-touch" }, "Tap to see a checkpoint, swipe to move along."),
    ),
    h("div", { class: "panel timeline" }, h("div", { class: "bar" }, legend(model), h("div", { class: "zoom" }, zoomOut, zoomIn, whole)), plot, readout),
  );

  let current = model.first;
  let chart: uPlot | undefined;

  const select = (row: number, moveCursor = true) => {
    current = row;
    const name = life.title(row);
    const parsed = life.parsed(row);
    const state = model.problemText(row) ?? (life.authentic(row) ? "signature valid" : "not signed");
    plot.setAttribute("aria-valuenow", String(row + 1));
    plot.setAttribute(
      "aria-valuetext",
      parsed ? `tick ${wholeNumber(life.tick(row))}, budget ${money(life.budget(row))}, ${state}, ${shown(name)}` : `${shown(name)}, ${state}`,
    );
    const fact = (label: string, value: string) => h("span", { class: "num" }, h("b", {}, `${label} `), value);
    readout.replaceChildren(
      ...(parsed ? [fact("Tick", wholeNumber(life.tick(row))), fact("Budget", money(life.budget(row)))] : []),
      h("span", {}, state),
      h("span", { class: "name mono" }, foreign(life.name(row) || short(name))),
      copyButton(() => name, "its name"),
      h("button", { type: "button", class: "quiet", click: () => open(row) }, "Inspect"),
    );
    if (moveCursor && chart) {
      const x = model.x[row]!;
      const { min, max } = chart.scales["x"]!;
      if (min == null || max == null) return; // not drawn yet
      if (x < min || x > max) {
        const half = (max - min) / 2;
        chart.setScale("x", { min: x - half, max: x + half });
      }
      mark();
    }
  };

  /** Puts the mark where the readout's checkpoint is, wherever the axis has it now. */
  const mark = () => {
    if (!chart) return;
    const x = model.x[current]!;
    const { min, max } = chart.scales["x"]!;
    const isSeen = min != null && max != null && x >= min && x <= max;
    chart.setCursor({ left: isSeen ? chart.valToPos(x, "x") : -10, top: isSeen ? 0 : -10 }, false);
  };

  const draw = () => {
    const { min, max } = chart?.scales["x"] ?? {};
    chart?.destroy();
    chart = new uPlot(options(model, plot.clientWidth, () => current, () => select(current), () => queueMicrotask(mark)), model.data, plot);
    if (min != null && max != null) chart.setScale("x", { min, max });
    const { over } = chart;
    // The end of a drag comes here as no click.
    over.addEventListener("click", (event) => {
      if (event.pointerType !== "touch") open(rowAt(event));
    });
    let touched = 0; // where, and where the finger is now
    let finger = 0;
    over.addEventListener("pointerdown", ({ clientX }) => (touched = finger = clientX));
    over.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") return select(rowAt(event), false);
      move((finger - event.clientX) / over.clientWidth);
      finger = event.clientX;
    });
    over.addEventListener("pointerup", (event) => {
      const tap = event.pointerType === "touch" && Math.abs(event.clientX - touched) < dragDistance;
      if (tap) select(rowAt(event));
    });
    // As everywhere: pinched or with Ctrl a wheel zooms, sideways it moves.
    over.addEventListener(
      "wheel",
      (event) => {
        const { ctrlKey, shiftKey, deltaX, deltaY, offsetX } = event;
        if (ctrlKey) zoomBy(Math.exp(deltaY / 200), chart!.posToVal(offsetX, "x"));
        else if (shiftKey || Math.abs(deltaX) > Math.abs(deltaY)) move((deltaX || deltaY) / over.clientWidth);
        else return;
        event.preventDefault();
        queueMicrotask(() => select(rowAt({ offsetX }), false)); // the chart has its new scales only then
      },
      { passive: false },
    );
  };

  /** The row nearest to a pointer. */
  const rowAt = ({ offsetX }: { offsetX: number }) => model.nearest(chart!.posToVal(offsetX, "x"));

  const zoomBy = (factor: number, centre = model.x[current]!) => {
    if (!chart) return;
    const { min, max } = chart.scales["x"]!;
    centre = Math.min(Math.max(centre, min!), max!);
    chart.setScale("x", { min: centre - (centre - min!) * factor, max: centre + (max! - centre) * factor });
  };

  /** Moves along the axis, by a part of what is seen of it. */
  const move = (part: number) => {
    if (!chart) return;
    const { min, max } = chart.scales["x"]!;
    const by = (max! - min!) * part;
    chart.setScale("x", { min: min! + by, max: max! + by });
  };
  zoomIn.addEventListener("click", () => zoomBy(0.5));
  zoomOut.addEventListener("click", () => zoomBy(2));
  whole.addEventListener("click", () => chart?.setScale("x", everything));

  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.round(life.length / 20));
    const steps: Record<string, () => void> = {
      ArrowRight: () => select(Math.min(current + 1, life.length - 1)),
      ArrowUp: () => select(Math.min(current + 1, life.length - 1)),
      ArrowLeft: () => select(Math.max(current - 1, 0)),
      ArrowDown: () => select(Math.max(current - 1, 0)),
      PageUp: () => select(Math.min(current + page, life.length - 1)),
      PageDown: () => select(Math.max(current - page, 0)),
      Home: () => select(0),
      End: () => select(life.length - 1),
      Enter: () => open(current),
      "+": () => zoomBy(0.5),
      "=": () => zoomBy(0.5),
      "-": () => zoomBy(2),
      "0": () => chart?.setScale("x", everything),
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    step();
  });

  // The chart has the width of its place, and the colours of the theme.
  let width = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth === width || plot.clientWidth === 0) return;
    width = plot.clientWidth;
    if (!chart) return draw();
    chart.setSize({ width, height: heightFor(width) });
    queueMicrotask(() => select(current)); // the chart has its new scales only then
  }).observe(plot);
  const themes = matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => {
    if (!plot.isConnected) return themes.removeEventListener("change", recolour);
    draw();
  };
  themes.addEventListener("change", recolour);
  select(current);
  return { element, select };
}

function heightFor(width: number): number {
  return width < 520 ? 250 : 320;
}

/** What is drawn, in the chart's terms. */
export class Model {
  readonly life: Life;
  readonly report: Report;
  /** Each row's place on the axis: ticks since the first one. */
  readonly x: Float64Array;
  readonly base: bigint;
  readonly last: number;
  /** How close two checkpoints are to each other. */
  closest = Infinity;
  readonly data: uPlot.AlignedData;
  readonly #budget: (number | null)[] = [];
  /** How many checkpoints have a place in the picture. */
  points = 0;
  /** The row that is shown first: that of the first problem. */
  first = 0;
  readonly problems: { row: number; x: number; missing: boolean; fork: boolean }[] = [];
  /** Where the agent was given to another node. */
  readonly moves: { x: number; number: string }[] = [];
  /** Branches beside the main line, each from the predecessor that it shares. */
  readonly branches: number[][] = [];
  /** Rows before which something is missing. */
  readonly gaps: number[] = [];
  /** Where the picture begins and ends, with some room for the points there, and more for a beginning or a head that is missing. */
  readonly left: number;
  readonly right: number;
  readonly segments: { from: number; to: number; hue: number; hash: string }[] = [];
  readonly hashes: string[] = [];
  readonly #texts = new Map<number, string>();

  private constructor(life: Life, report: Report) {
    this.life = life;
    this.report = report;
    // A forged tick may be anything; what was signed says where the axis begins and ends.
    this.base = BigInt(report.firstTick ?? 0);
    this.last = Math.max(1, Number(BigInt(report.lastTick ?? 0) - this.base));
    const room = this.last * 0.01;
    this.left = (this.lacks("missing-genesis") ? -5 : -1) * room;
    this.right = this.last + (this.lacks("head-not-found") ? 5 : 1) * room;
    this.x = new Float64Array(life.length);
    this.data = [this.x, this.#budget];
  }

  static async from(life: Life, report: Report, slices: Slices): Promise<Model> {
    const model = new Model(life, report);
    const { x, base, last, problems, gaps, hashes, segments } = model;
    // Rows are in the order of their ticks, those without one first, and so x never falls.
    await slices.each(life.length, (row) => {
      if (!life.parsed(row)) return;
      x[row] = Math.min(Math.max(Number(life.tick(row) - base), 0), last);
      const distance = row > 0 ? x[row]! - x[row - 1]! : 0;
      if (distance > 0) model.closest = Math.min(model.closest, distance);
      model.points++;
    });
    let first = -1;
    await slices.each(report.problems.length, (i) => {
      const problem = report.problems[i]!;
      const row = problem.name === undefined ? undefined : life.find(problem.name);
      const missing = isMissing(problem);
      if (row === undefined) return;
      if (missing) gaps.push(row);
      // Where it belongs on the axis, only the tick says.
      if (life.parsed(row)) problems.push({ row, x: x[row]!, missing, fork: problem.code === "fork" });
      if (first < 0) first = row;
      model.#texts.set(row, [model.#texts.get(row), problem.code].filter(Boolean).join(", "));
    });
    model.first = Math.max(first, 0);
    if (model.lacks("head-not-found")) problems.push({ row: -1, x: (last + model.right) / 2, missing: true, fork: false });

    await slices.each(report.handovers?.length ?? 0, (i) => {
      const { problem, tick, number } = report.handovers![i]!;
      if (problem === undefined && tick !== undefined) model.moves.push({ x: Math.min(Math.max(Number(BigInt(tick) - base), 0), last), number });
    });
    const side = await model.#findBranches(slices);
    // What another key signed is another life, unless all of it is by the other key.
    const others = report.problems.filter(({ code }) => code === "identity-mismatch").length;
    const another = (row: number) => others < report.signatures.valid && model.problemText(row)?.includes("identity-mismatch");
    await slices.each(life.length, (row) => {
      model.#budget.push(life.authentic(row) && !side[row] && !another(row) ? Number(life.budget(row)) : null);
    });

    await slices.each(report.segments.length, (i) => {
      const { wasmHash, firstTick, lastTick } = report.segments[i]!;
      let hue = hashes.indexOf(wasmHash);
      if (hue < 0 && hashes.length < 64) hue = hashes.push(wasmHash) - 1;
      segments.push({
        from: Number(BigInt(firstTick) - base),
        to: Number(BigInt(lastTick) - base),
        hue: Math.max(hue, 0),
        hash: wasmHash,
      });
    });
    return model;
  }

  /** Marks the rows of branches, which begin where the report says fork. */
  async #findBranches(slices: Slices): Promise<Uint8Array> {
    const { life } = this;
    const side = new Uint8Array(life.length);
    const branchOf = new Map<number, number[]>(); // by its last row
    const roots = new Set(this.problems.filter(({ fork }) => fork).map(({ row }) => row));
    if (roots.size === 0) return side;
    await slices.each(life.length, (row) => {
      const parent = life.parent(row);
      if (roots.has(row)) {
        side[row] = 1;
        const branch = parent >= 0 ? [parent, row] : [row];
        this.branches.push(branch);
        branchOf.set(row, branch);
      } else if (parent >= 0 && side[parent] && life.authentic(row)) {
        side[row] = 1;
        const branch = branchOf.get(parent) ?? [parent];
        branchOf.delete(parent);
        branch.push(row);
        branchOf.set(row, branch);
      }
    });
    return side;
  }

  lacks(problem: "missing-genesis" | "head-not-found"): boolean {
    return this.report.problems.some(({ code }) => code === problem);
  }

  problemText(row: number): string | undefined {
    return this.#texts.get(row);
  }

  /** The row nearest to a place on the axis. */
  nearest(x: number): number {
    let [low, high] = [0, this.x.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x[middle]! < x) low = middle + 1;
      else high = middle;
    }
    const before = Math.max(low - 1, 0);
    return x - this.x[before]! < this.x[low]! - x ? before : low;
  }

  /** A range of budgets, and those of the branches that are seen with it. */
  branchRange(chart: uPlot, [low, high]: [number, number]): [number, number] {
    const [first, last] = chart.series[0]!.idxs!; // of the rows that are seen; the scale itself is the old one still
    for (const branch of this.branches) {
      for (const row of branch) {
        if (row < first || row > last) continue;
        const budget = Number(this.life.budget(row));
        [low, high] = [Math.min(low, budget), Math.max(high, budget)];
      }
    }
    return [low, high];
  }

  /** Where the life is whole again before a gap, on the axis. */
  gapStart(row: number): number {
    while (row > 0 && this.x[row - 1]! >= this.x[row]!) row--;
    return row > 0 ? this.x[row - 1]! : this.left;
  }

  /** What of the axis can be seen: not so little that no checkpoint is in it, and no more than there is. */
  clamp(min: number, max: number): [number, number] {
    const span = Math.min(Math.max(max - min, 8 * this.closest), this.right - this.left);
    max = Math.min(Math.max(min, this.left) + span, this.right);
    return [Math.max(max - span, this.left), max];
  }
}

function legend(model: Model): HTMLElement {
  const symbol = (kind: string, path: string) => {
    const holder = h("span", { class: kind, "aria-hidden": true });
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 16 16");
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("d", path);
    shape.setAttribute("fill", kind === "line" ? "none" : "currentColor");
    if (kind === "line") {
      shape.setAttribute("stroke", "currentColor");
      shape.setAttribute("stroke-width", "2.5");
    }
    svg.append(shape);
    holder.append(svg);
    return holder;
  };
  const list = h("ul", { class: "legend" }, h("li", {}, symbol("line", "M0 12 6 6l4 4 6-8"), "budget left"));
  const programs = model.hashes.length;
  if (programs > 0) list.append(h("li", {}, symbol("line", "M0 8h16"), programs === 1 ? "band: one program" : `band: ${programs} programs, by WASM hash`));
  if (model.moves.length > 0) list.append(h("li", {}, symbol("moved", "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 2a5 5 0 1 1 0 10A5 5 0 0 1 8 3z"), "moved to another node"));
  if (model.problems.some(({ missing }) => missing)) list.append(h("li", {}, symbol("gone", "M8 1l7.5 13.5H.5z"), "something missing"));
  if (model.problems.some(({ missing, fork }) => !missing && !fork)) list.append(h("li", {}, symbol("bad", "M5 1h6l4 4v6l-4 4H5l-4-4V5z"), "something wrong"));
  if (model.problems.some(({ fork }) => fork)) list.append(h("li", {}, symbol("bad", "M8 0l8 8-8 8-8-8z"), "fork"));
  return list;
}

function options(model: Model, width: number, current: () => number, ready: () => void, moved: () => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const font = `13px ${style.getPropertyValue("--sans")}`;
  const programs = ["accent", "program-1", "program-2", "program-3"].map(colour);
  const axis = { stroke: colour("ink-2"), font, grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  return {
    width,
    height: heightFor(width),
    padding: [laneHeight, 26, 0, 4],
    legend: { show: false },
    cursor: {
      // It stands at a checkpoint, the one that the readout is of.
      move: (chart, left, top) => [left < 0 ? left : chart.valToPos(model.x[model.nearest(chart.posToVal(left, "x"))]!, "x"), top],
      // Two sides of a fork are at one tick: the point is on the line only if the readout's checkpoint is.
      dataIdx: current,
      y: false, points: { size: 9, fill: colour("accent") }, drag: { x: true, y: false, dist: dragDistance },
    },
    scales: {
      x: { time: false, min: model.left, max: model.right, range: (_, min, max) => model.clamp(min, max) },
      y: {
        // Room for the band below, and a line that is flat in the middle.
        range: (chart, low, high) => {
          let [min, max] = model.branchRange(chart, [low ?? Infinity, high ?? -Infinity]);
          if (min > max) [min, max] = [0, 1];
          if (min === max) [min, max] = [min - Math.max(1, Math.abs(min) * 0.05), max + Math.max(1, Math.abs(max) * 0.05)];
          const height = (chart.bbox?.height || 220) / devicePixelRatio;
          const unit = (max - min) / Math.max(height - bandHeight - 26, 40);
          return [min - unit * (bandHeight + 16), max + unit * 10];
        },
      },
    },
    axes: [
      {
        ...axis,
        space: Math.max(52, wholeNumber(model.base + BigInt(model.last)).length * digitWidth + 20),
        incrs: increments(),
        splits: (_, __, min, max, step) => {
          // At round ticks, wherever the life began.
          const past = Number(model.base % BigInt(step));
          const splits: number[] = [];
          for (let x = Math.ceil((min + past) / step) * step - past; x <= max; x += step) splits.push(x);
          return splits;
        },
        values: (_, splits) => splits.map((x) => wholeNumber(model.base + BigInt(Math.round(x)))),
      },
      {
        ...axis,
        space: 36,
        size: (_, values) => Math.max(...(values ?? []).map(({ length }) => length), "tick".length) * digitWidth + 18,
        values: (_, splits) => amounts(splits),
      },
    ],
    series: [
      {},
      {
        stroke: colour("accent"),
        width: 2,
        spanGaps: false, // what spans them is what gaps, below, leaves out
        points: { show: (chart) => visible(model, chart) < chart.bbox.width / devicePixelRatio / pointSpacing, size: 6, fill: colour("panel") },
        gaps: (chart) =>
          model.gaps.map((row) => [
            Math.round(chart.valToPos(model.gapStart(row), "x", true)),
            Math.round(chart.valToPos(model.x[row]!, "x", true)),
          ]),
      },
    ],
    hooks: {
      ready: [ready],
      setScale: [(_, scale) => scale === "x" && moved()],
      drawClear: [(chart) => drawGaps(chart, model, colour)],
      draw: [
        (chart) => {
          drawBand(chart, model, programs, colour("panel"));
          drawBranches(chart, model, colour("invalid"));
          drawMoves(chart, model, colour, style.getPropertyValue("--sans"));
          drawProblems(chart, model, colour);
          // What the numbers of the axes are.
          const { ctx, bbox } = chart;
          ctx.save();
          ctx.font = `${13 * devicePixelRatio}px ${style.getPropertyValue("--sans")}`;
          ctx.fillStyle = colour("ink-2");
          ctx.textAlign = "left";
          ctx.textBaseline = "top";
          ctx.fillText("tick", 4 * devicePixelRatio, bbox.top + bbox.height + 15 * devicePixelRatio);
          ctx.fillText("budget left, in currency units", 4 * devicePixelRatio, 2 * devicePixelRatio);
          ctx.restore();
        },
      ],
    },
  };
}

/** Steps of the axis: ticks are whole. */
function increments(): number[] {
  const steps: number[] = [];
  for (let ten = 1; ten < 1e19; ten *= 10) steps.push(ten, 2 * ten, 5 * ten);
  return steps;
}

/** Amounts on the axis, in currency units, no longer than they have to be, and all with as many decimals. No axis of a budget goes below nothing. */
function amounts(microcents: readonly number[]): string[] {
  const units = microcents.map((amount) => amount / 1e6);
  if (units.some((amount) => Math.abs(amount) >= 1e9)) {
    const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
    return units.map((amount) => (amount < 0 ? "" : compact.format(amount)));
  }
  const decimals = Math.max(0, ...units.map((amount) => amount.toFixed(6).replace(/\.?0+$/, "").split(".")[1]?.length ?? 0));
  return units.map((amount) => (amount < 0 ? "" : amount.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })));
}

function visible(model: Model, chart: uPlot): number {
  const { min, max } = chart.scales["x"]!;
  const xs = chart.data[0];
  const after = (x: number) => {
    let [low, high] = [0, xs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle]! < x) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return model.life.length === 0 ? 0 : after(max!) - after(min!);
}

function drawGaps(chart: uPlot, model: Model, colour: (name: string) => string): void {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  const missing = model.gaps.map((row) => [model.gapStart(row), model.x[row]!]);
  if (model.lacks("head-not-found")) missing.push([model.last, model.right]);
  for (const [start, end] of missing) {
    const to = chart.valToPos(end!, "x", true);
    const from = Math.min(chart.valToPos(start!, "x", true), to - 6 * devicePixelRatio);
    ctx.fillStyle = colour("incomplete-tint");
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    ctx.strokeStyle = colour("incomplete");
    ctx.lineWidth = devicePixelRatio;
    ctx.globalAlpha = 0.35;
    ctx.save();
    ctx.beginPath();
    ctx.rect(from, bbox.top, to - from, bbox.height);
    ctx.clip();
    ctx.beginPath();
    const step = 9 * devicePixelRatio;
    const left = Math.max(from, bbox.left);
    const right = Math.min(to, bbox.left + bbox.width);
    for (let x = left - bbox.height; x < right; x += step) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
    ctx.globalAlpha = 1;
  }
  ctx.restore();
}

function drawBand(chart: uPlot, model: Model, programs: string[], paper: string): void {
  const { ctx, bbox } = chart;
  const height = bandHeight * devicePixelRatio;
  const top = bbox.top + bbox.height - height;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, top, bbox.width, height);
  ctx.clip();
  let drawnTo = -Infinity;
  model.segments.forEach((segment, i) => {
    const next = model.segments[i + 1];
    const from = chart.valToPos(segment.from, "x", true);
    const to = next ? chart.valToPos(next.from, "x", true) : chart.valToPos(segment.to, "x", true);
    if (to < drawnTo + 1) return; // narrower than a pixel
    ctx.fillStyle = programs[segment.hue % programs.length]!;
    ctx.fillRect(from, top, Math.max(to - from, devicePixelRatio * 2), height);
    if (i > 0) {
      ctx.fillStyle = paper;
      ctx.fillRect(from, top, 2 * devicePixelRatio, height);
    }
    drawnTo = to;
    const label = segment.hash.slice(0, 8);
    ctx.font = `${11 * devicePixelRatio}px "Plex Mono", monospace`;
    const width = ctx.measureText(label).width;
    const start = Math.max(from, bbox.left) + 5 * devicePixelRatio;
    if (Math.min(to, bbox.left + bbox.width) - start < width + 8 * devicePixelRatio) return;
    ctx.fillStyle = paper;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.fillText(label, start, top + height / 2 + devicePixelRatio / 2);
  });
  ctx.restore();
}

function drawBranches(chart: uPlot, model: Model, colour: string): void {
  if (model.branches.length === 0) return;
  const { ctx, bbox } = chart;
  const position = (row: number): [number, number] => [
    chart.valToPos(model.x[row]!, "x", true),
    chart.valToPos(Number(model.life.budget(row)), "y", true),
  ];
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const branch of model.branches) {
    ctx.setLineDash([5 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    branch.forEach((row, i) => (i === 0 ? ctx.moveTo(...position(row)) : ctx.lineTo(...position(row))));
    ctx.stroke();
    if (branch.length > 500) continue;
    for (const row of branch.slice(1)) {
      ctx.beginPath();
      ctx.arc(...position(row), 2.5 * devicePixelRatio, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
  ctx.restore();
}

/** Marks where the agent was given to another node, with the hand-over's number. */
function drawMoves(chart: uPlot, model: Model, colour: (name: string) => string, sans: string): void {
  const { ctx, bbox } = chart;
  const { min, max } = chart.scales["x"]!;
  const r = 7.5 * devicePixelRatio;
  const y = bbox.top - 11 * devicePixelRatio;
  let drawn = -Infinity;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("ink-2");
  ctx.lineWidth = 1.25 * devicePixelRatio;
  ctx.font = `600 ${10 * devicePixelRatio}px ${sans}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const { x: at, number } of model.moves) {
    if (at < min! || at > max!) continue;
    const x = chart.valToPos(at, "x", true);
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, y + r);
    ctx.lineTo(x, bbox.top + bbox.height - bandHeight * devicePixelRatio);
    // Where they are close, one mark stands for several, as the list has them.
    if (x - drawn < 2.4 * r) {
      if (x - drawn > devicePixelRatio * 3) ctx.stroke();
      continue;
    }
    drawn = x;
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.beginPath();
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    ctx.stroke();
    if (number.length < 3) ctx.fillText(number, x, y + 0.5 * devicePixelRatio);
  }
  ctx.restore();
}

function drawProblems(chart: uPlot, model: Model, colour: (name: string) => string): void {
  const { ctx, bbox } = chart;
  const { min, max } = chart.scales["x"]!;
  const r = 6 * devicePixelRatio;
  const y = bbox.top - 11 * devicePixelRatio;
  const taken = new Set<number>();
  ctx.save();
  for (const { x: at, missing, fork } of model.problems) {
    if (at < min! || at > max!) continue;
    const x = chart.valToPos(at, "x", true);
    // One mark stands for those that would cover each other.
    const place = Math.round(x / (2 * r)) * 2 + (missing ? 1 : 0);
    if (taken.has(place)) continue;
    taken.add(place);
    ctx.fillStyle = ctx.strokeStyle = colour(missing ? "incomplete" : "invalid");
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, y + r);
    ctx.lineTo(x, bbox.top + bbox.height - bandHeight * devicePixelRatio);
    ctx.stroke();
    ctx.beginPath();
    const corners = missing
      ? [[0, -1], [1, 0.85], [-1, 0.85]]
      : fork
        ? [[0, -1], [1, 0], [0, 1], [-1, 0]]
        : [[-0.42, -1], [0.42, -1], [1, -0.42], [1, 0.42], [0.42, 1], [-0.42, 1], [-1, 0.42], [-1, -0.42]];
    for (const [dx, dy] of corners) ctx.lineTo(x + dx! * r, y + dy! * r);
    ctx.closePath();
    ctx.fill();
  }
  ctx.restore();
}
