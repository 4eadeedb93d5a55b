// Colours of the points, by a column; the page's own colours come from its style, in light and in dark.

const MAX_NAMED = 10;
const GOLDEN_ANGLE = 137.508;
const DECISIONS = {
  selected: "--selected", "not selected": "--left-out", "selected, then pruned": "--both", pruned: "--pruned",
  excluded: "--excluded", withdrawn: "--withdrawn",
};

const style = () => getComputedStyle(document.documentElement);

const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d", { willReadFrequently: true });

// Red, green and blue of any colour of CSS.
function parts(colour) {
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

export const named = (name) => parts(style().getPropertyValue(name).trim());

function ofCategory(column, code, rank) {
  if (column.values[code] === "none") return named("--none");
  if (column.name === "decision") return named(DECISIONS[column.values[code]]);
  if (rank < MAX_NAMED) return named(`--c${rank}`);
  const light = isDark() ? 62 + 8 * (rank % 3) : 38 + 8 * (rank % 3);
  return parts(`hsl(${(rank * GOLDEN_ANGLE) % 360} 62% ${light}%)`);
}

const steps = () => ["--r0", "--r1", "--r2", "--r3", "--r4"].map(named);

export function ramp(share, stops = steps()) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(place), stops.length - 2);
  return stops[first].map((part, at) => Math.round(part + (place - first) * (stops[first + 1][at] - part)));
}

// The 1st and 99th percentile: a few extreme values would leave one colour for all others.
export function rangeOf(column) {
  if (!column.range) {
    const every = Math.max(1, Math.floor(column.data.length / 50_000));
    const values = [];
    for (let row = 0; row < column.data.length; row += every) {
      if (Number.isFinite(column.data[row])) values.push(column.data[row]);
    }
    values.sort((a, b) => a - b);
    const at = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
    const isFew = values.length < 200;
    column.range = isFew ? [at(0), at(1)] : [at(0.01), at(0.99)];
    if (column.range[0] === column.range[1]) column.range = [at(0), at(1)];
  }
  return column.range;
}

export function categoryCounts(column) {
  if (!column.counts) {
    column.counts = new Uint32Array(column.values.length);
    for (const code of column.data) column.counts[code]++;
  }
  return column.counts;
}

// Codes in the order of the legend: the most frequent first; decisions, steps and `none` keep their own order.
export function codesInOrder(column) {
  const counts = categoryCounts(column);
  const codes = column.values.map((_, code) => code).filter((code) => counts[code] > 0);
  const rank = (code) => (column.values[code] === "none" ? 1 : 0);
  if (column.name !== "decision" && column.name !== "arrived") codes.sort((a, b) => counts[b] - counts[a]);
  return codes.sort((a, b) => rank(a) - rank(b));
}

// Colour of each category, [red, green, blue] by code.
export function palette(column) {
  const found = column.values.map(() => named("--none"));
  codesInOrder(column).forEach((code, rank) => (found[code] = ofCategory(column, code, rank)));
  return found;
}

// N x 4 bytes: the colour of each row.
export function pointColours(column, numRows) {
  const found = new Uint8Array(4 * numRows).fill(255);
  const put = (row, [red, green, blue]) => {
    found[4 * row] = red;
    found[4 * row + 1] = green;
    found[4 * row + 2] = blue;
  };
  if (column.kind === "category") {
    const known = palette(column);
    for (let row = 0; row < numRows; row++) put(row, known[column.data[row]]);
    return found;
  }
  const [low, high] = rangeOf(column);
  const stops = steps();
  const table = Array.from({ length: 256 }, (_, at) => ramp(at / 255, stops));
  const none = named("--none");
  for (let row = 0; row < numRows; row++) {
    const value = column.data[row];
    const share = (value - low) / (high - low || 1);
    put(row, Number.isFinite(value) ? table[Math.round(255 * Math.min(Math.max(share, 0), 1))] : none);
  }
  return found;
}
