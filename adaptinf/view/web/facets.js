// The filters at the side: one per column, its values are read when it is opened.

import { categoryCounts, codesInOrder, rangeOf } from "./colours.js";
import { byId, counted, element, printable, shownNumber } from "./dom.js";
import { ofCategories, ofRange } from "./filters.js";

const OPEN_AT_FIRST = ["decision", "source"];
const SHOWN_VALUES = 12;
const BINS = 36;

export class Facets {
  constructor(data, filters) {
    this.data = data;
    this.filters = filters;
    this.open = new Map(); // column -> function that shows its counts again
    const side = byId("facets");
    side.append(
      element("div", { class: "side-head" },
        element("h2", { text: "Filters" }),
        element("button", { id: "clear", text: "Clear all", disabled: true, on: { click: () => filters.clear() } })),
    );
    for (const column of data.columns) side.append(this.facet(column));
    filters.onChange(() => this.refresh());
  }

  facet(column) {
    const body = element("div", { class: "facet-body" });
    const made = element("details", { class: "facet", "data-column": column.name },
      element("summary", { title: column.help }, element("span", { class: "data", text: printable(column.name) })), body);
    made.addEventListener("toggle", async () => {
      if (!made.open) {
        this.open.delete(column);
        return;
      }
      if (!column.data) body.replaceChildren(element("p", { class: "quiet", text: "reading…" }));
      await this.data.values(column);
      this.open.set(column, column.kind === "category" ? this.categories(column, body) : this.numbers(column, body));
      this.open.get(column)();
    });
    made.open = OPEN_AT_FIRST.includes(column.name);
    return made;
  }

  refresh() {
    byId("clear").disabled = !this.filters.all.size;
    for (const show of this.open.values()) show();
  }

  toggle(column, code) {
    const codes = new Set(this.filters.get(column.name)?.codes ?? []);
    if (!codes.delete(code)) codes.add(code);
    this.filters.set(column.name, codes.size ? ofCategories(column, codes) : null);
  }

  categories(column, body) {
    let isWhole = false;
    const list = element("ul");
    const more = element("button", { class: "link" });
    more.addEventListener("click", () => {
      isWhole = !isWhole;
      show();
    });
    body.replaceChildren(list, more);
    const show = () => {
      const counts = new Uint32Array(column.values.length);
      const passes = this.filters.passesOthers(column.name);
      for (let row = 0; row < column.data.length; row++) if (passes(row)) counts[column.data[row]]++;
      const chosen = this.filters.get(column.name)?.codes;
      const codes = codesInOrder(column);
      const first = codes.filter((code, at) => isWhole || at < SHOWN_VALUES || chosen?.has(code));
      const most = Math.max(1, ...first.map((code) => counts[code]));
      const focused = list.contains(document.activeElement) ? document.activeElement.dataset.code : null;
      list.replaceChildren(...first.map((code) => {
        const bar = element("span", { class: "amount" });
        bar.style.width = `${(100 * counts[code]) / most}%`;
        return element("li", {}, element("button", {
          class: "value", "data-code": code, "aria-pressed": String(Boolean(chosen?.has(code))),
          title: printable(column.values[code]), on: { click: () => this.toggle(column, code) },
        }, bar, element("span", { class: "data label", text: printable(column.values[code]) }),
        element("span", { class: "number", text: counted(counts[code]) })));
      }));
      if (focused !== null) list.querySelector(`[data-code="${focused}"]`)?.focus();
      more.hidden = codes.length <= SHOWN_VALUES;
      more.textContent = isWhole ? "fewer" : `${counted(codes.length - SHOWN_VALUES)} more`;
    };
    categoryCounts(column);
    return show;
  }

  numbers(column, body) {
    const [low, high] = rangeOf(column);
    const width = (high - low) / BINS || 1;
    const binOf = (value) => Math.min(BINS - 1, Math.max(0, Math.floor((value - low) / width)));
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", `0 0 ${BINS} 30`);
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("class", "histogram");
    picture.setAttribute("aria-hidden", "true");
    const field = (what) => element("input", { type: "number", step: "any", "aria-label": `${column.name}, ${what}`, placeholder: what });
    const from = field("from");
    const to = field("to");
    const given = (input, other) => (input.value === "" ? other : Number(input.value));
    const set = (start, stop) => {
      const is = start !== -Infinity || stop !== Infinity;
      this.filters.set(column.name, is ? ofRange(column, start, stop, shownNumber) : null);
    };
    [from, to].forEach((input) => input.addEventListener("change", () => set(given(from, -Infinity), given(to, Infinity))));
    body.replaceChildren(picture, element("div", { class: "ends" }, element("span", { text: shownNumber(low) }), element("span", { text: shownNumber(high) })),
      element("div", { class: "range" }, from, element("span", { text: "to" }), to));
    let start = null;
    const place = (event) => {
      const box = picture.getBoundingClientRect();
      return low + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (high - low);
    };
    picture.addEventListener("pointerdown", (event) => {
      start = place(event);
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const ends = [start, place(event)].sort((a, b) => a - b);
      start = null;
      if (ends[1] - ends[0] < width / 2) set(-Infinity, Infinity);
      else set(ends[0] <= low ? -Infinity : ends[0], ends[1] >= high ? Infinity : ends[1]);
    });
    return () => {
      const passes = this.filters.passesOthers(column.name);
      const all = new Uint32Array(BINS);
      const here = new Uint32Array(BINS);
      const own = this.filters.get(column.name);
      for (let row = 0; row < column.data.length; row++) {
        const value = column.data[row];
        if (!Number.isFinite(value)) continue;
        all[binOf(value)]++;
        if (passes(row)) here[binOf(value)]++;
      }
      const most = Math.max(1, ...all);
      const height = (count) => (count ? Math.max(0.6, 30 * Math.sqrt(count / most)) : 0);
      const bars = (counts, name) => [...counts].map((count, bin) => {
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        const at = low + (bin + 0.5) * width;
        const isIn = !own || (at >= own.low && at <= own.high);
        bar.setAttribute("class", name === "here" && !isIn ? "outside" : name);
        bar.setAttribute("x", bin + 0.06);
        bar.setAttribute("width", 0.88);
        bar.setAttribute("y", 30 - height(count));
        bar.setAttribute("height", height(count));
        return bar;
      });
      picture.replaceChildren(...bars(all, "all"), ...bars(here, "here"));
      from.value = own && own.low !== -Infinity ? String(Number(own.low.toPrecision(6))) : "";
      to.value = own && own.high !== Infinity ? String(Number(own.high.toPrecision(6))) : "";
    };
  }
}
