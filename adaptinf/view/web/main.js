// Start of the page: reads what there is, and joins map, filters, table and the sample that is looked at.

import { codesInOrder, palette, pointColours, ramp, rangeOf } from "./colours.js";
import { Data } from "./data.js";
import { Detail } from "./detail.js";
import { byId, counted, element, printable, saveFile, shownNumber } from "./dom.js";
import { Facets } from "./facets.js";
import { Filters, ofCategories } from "./filters.js";
import { Scatter } from "./scatter.js";
import { SideTable } from "./sides.js";
import { Table } from "./table.js";

const LEGEND = 12;
const CLICK_PIXELS = 4;
const SEARCH_PAUSE = 250;
const AREA = "area on the map";
const SEARCH = "search";
const IN_POOL = ["selected", "not selected", "selected, then pruned"];

class Page {
  constructor(data) {
    this.data = data;
    this.filters = new Filters(data.numRows);
    this.table = new Table(data, this.filters, (row) => this.choose(row));
    this.detail = new Detail(data, this.filters, (row) => this.choose(row), () => this.mark([]));
    this.scatter = null;
  }

  async start() {
    const view = this.data.view;
    document.title = `${view.run} · step ${view.step} · adaptinf`;
    byId("run").textContent = printable(view.run);
    byId("where").textContent = `step ${view.step} (${printable(view.dataset)})${view.num_steps > 1 ? ` of steps 0 to ${view.num_steps - 1}` : ""} · ${view.method} · ${counted(view.num_rows)} samples`;
    byId("notes").hidden = !view.notes.length;
    byId("notes").textContent = view.notes.join("; ");
    this.facets = new Facets(this.data, this.filters);
    this.filters.onChange(() => this.changed());
    this.table.onPick(() => this.changed());
    this.tabs();
    this.searching();
    byId("take").addEventListener("click", () => this.take());
    if (view.map) await this.startMap();
    else this.withoutMap();
    this.filters.apply();
  }

  withoutMap() {
    byId("map-box").hidden = true;
    byId("no-map").hidden = false;
    byId("no-map").textContent = this.data.view.why_no_map;
    this.ready();
  }

  async startMap() {
    const view = this.data.view;
    this.scatter = new Scatter(byId("map"), byId("over"), await this.data.places());
    byId("how").textContent = view.map.method === "umap" ? "UMAP of the step's vectors" : `Principal components of the step's vectors${view.map.why ? `, ${view.map.why}` : ""}`;
    const choice = byId("colour");
    for (const column of this.data.columns) choice.append(element("option", { value: column.name, text: printable(column.name) }));
    choice.addEventListener("change", () => this.paint());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    this.filters.onChange(() => this.scatter.setShown(this.filters.fails));
    this.pointing();
    await this.paint();
    this.ready();
  }

  ready() {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.documentElement.dataset.state = "ready";
      performance.mark("map drawn");
    }));
  }

  async paint() {
    const column = this.data.column(byId("colour").value);
    await this.data.values(column);
    this.scatter.setColours(pointColours(column, this.data.numRows));
    this.legend(column);
    document.documentElement.dataset.colour = column.name;
  }

  legend(column) {
    const legend = byId("legend");
    legend.setAttribute("aria-label", `Legend: ${column.name}`);
    if (column.kind === "number") {
      const [low, high] = rangeOf(column);
      const bar = element("span", { class: "ramp" });
      const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => `rgb(${ramp(share).join(" ")})`);
      bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
      legend.replaceChildren(element("span", { class: "scale" }, element("span", { text: shownNumber(low) }), bar, element("span", { text: shownNumber(high) })));
      return;
    }
    const colours = palette(column);
    const codes = codesInOrder(column);
    const items = codes.slice(0, LEGEND).map((code) => {
      const dot = element("span", { class: "dot" });
      dot.style.background = `rgb(${colours[code].join(" ")})`;
      return element("button", { class: "key", title: "Show only these", on: { click: () => this.only(column, code) } }, dot, element("span", { class: "data", text: printable(column.values[code]) }));
    });
    if (codes.length > LEGEND) items.push(element("span", { class: "quiet", text: `and ${counted(codes.length - LEGEND)} more` }));
    legend.replaceChildren(...items);
  }

  only(column, code) {
    const codes = this.filters.get(column.name)?.codes;
    const isAlready = codes?.size === 1 && codes.has(code);
    this.filters.set(column.name, isAlready ? null : ofCategories(column, new Set([code])));
  }

  pointing() {
    const map = byId("map");
    const scatter = this.scatter;
    let mode = "move";
    const modes = [...document.querySelectorAll("[data-mode]")];
    const setMode = (button) => {
      mode = button.dataset.mode;
      modes.forEach((other) => other.setAttribute("aria-checked", String(other === button)));
      map.dataset.mode = mode;
    };
    modes.forEach((button) => button.addEventListener("click", () => setMode(button)));
    byId("fit").addEventListener("click", () => scatter.fit());
    const at = (event) => {
      const box = map.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    map.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      map.setPointerCapture(event.pointerId);
      drag = { start: at(event), last: at(event), points: [at(event)], kind: event.shiftKey && mode === "move" ? "lasso" : mode, isMoved: false };
    });
    map.addEventListener("pointermove", (event) => {
      const point = at(event);
      if (!drag) {
        map.classList.toggle("over-point", scatter.pick(point) >= 0);
        return;
      }
      if (Math.hypot(point[0] - drag.start[0], point[1] - drag.start[1]) > CLICK_PIXELS) drag.isMoved = true;
      if (!drag.isMoved) return;
      if (drag.kind === "move") scatter.pan(point[0] - drag.last[0], point[1] - drag.last[1]);
      else {
        drag.points = drag.kind === "box" ? box(drag.start, point) : [...drag.points, point];
        scatter.setOutline(drag.points, true);
      }
      drag.last = point;
    });
    const box = ([left, top], [right, bottom]) => [[left, top], [right, top], [right, bottom], [left, bottom]];
    map.addEventListener("pointerup", (event) => {
      const done = drag;
      drag = null;
      if (!done) return;
      scatter.setOutline(null);
      if (!done.isMoved) {
        const row = scatter.pick(at(event));
        if (row >= 0) this.choose(row);
      } else if (done.kind !== "move") {
        const pass = scatter.inside(done.points);
        this.filters.set(AREA, pass.some(Boolean) ? { label: AREA, pass } : null);
      }
    });
    map.addEventListener("pointercancel", () => (drag = null));
    map.addEventListener("wheel", (event) => {
      event.preventDefault();
      scatter.zoomAt(at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    map.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
      if (moves[event.key]) scatter.pan(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") scatter.zoomIn(true);
      else if (event.key === "-") scatter.zoomIn(false);
      else if (event.key === "0") scatter.fit();
      else if (event.key === "Escape") this.filters.set(AREA, null);
      else return;
      event.preventDefault();
    });
  }

  searching() {
    const field = byId("search");
    let timer = 0;
    let number = 0;
    const look = async () => {
      const text = field.value.trim();
      const own = ++number;
      if (!text) {
        this.filters.set(SEARCH, null);
        return;
      }
      const onPart = (share) => own === number && (byId("count").textContent = `searching, ${Math.round(100 * share)} %`);
      const pass = await this.data.search(text, onPart, () => own === number);
      if (own === number) this.filters.set(SEARCH, { label: `“${printable(text)}”`, pass });
    };
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, SEARCH_PAUSE);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName)) {
        event.preventDefault();
        field.focus();
      }
    });
    this.filters.onChange(() => {
      if (!this.filters.get(SEARCH) && document.activeElement !== field) field.value = "";
    });
  }

  changed() {
    const { count, numRows } = { count: this.filters.count, numRows: this.data.numRows };
    byId("count").textContent = count === numRows ? `${counted(numRows)} samples` : `${counted(count)} of ${counted(numRows)} samples`;
    byId("count").dataset.count = String(count);
    byId("chips").replaceChildren(...[...this.filters.all].map(([name, { label }]) =>
      element("button", { class: "chip", title: "Remove this filter", on: { click: () => this.filters.set(name, null) } }, element("span", { class: "data", text: printable(label) }), " ×")));
    const picked = this.table.picked.size;
    byId("take").textContent = picked ? `Save ${counted(picked)} picked ids` : `Save ${counted(count)} ids`;
    byId("take").disabled = !picked && !count;
  }

  async take() {
    const picked = [...this.table.picked].sort((a, b) => a - b);
    const rows = picked.length ? picked : this.filters.shown();
    const lines = await this.data.idLines(rows);
    saveFile(`ids-${this.data.view.run.replace(/[^\w.-]+/g, "_")}-step-${this.data.view.step}.txt`, lines.map((line) => `${line}\n`).join(""));
    const decision = this.data.column("decision");
    const codes = await this.data.values(decision);
    let gone = 0;
    for (const row of rows) gone += !IN_POOL.includes(decision.values[codes[row]]);
    byId("notes").hidden = !gone;
    byId("notes").textContent = gone ? `${counted(gone)} of these ids are no longer in the pool of this step; filter by decision before adaptinf export --ids, which refuses them.` : "";
  }

  async mark(rows) {
    this.scatter?.setMarked(rows);
    if (!rows.length) this.table.choose(-1);
  }

  async choose(row) {
    this.table.choose(row);
    await this.detail.show(row);
    this.mark([row, ...(await this.detail.neighboursOf(row))]);
    this.scatter?.reveal(row);
  }

  tabs() {
    const sides = {
      tests: new SideTable("tests", `Test items after step ${this.data.view.step}`, "Nothing was tested after this step."),
      rejected: new SideTable("rejected", "Rejected rows", "No row of the datasets or tests was rejected."),
    };
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const open = async (tab) => {
      for (const other of tabs) {
        other.setAttribute("aria-selected", String(other === tab));
        other.tabIndex = other === tab ? 0 : -1;
        byId(other.getAttribute("aria-controls")).hidden = other !== tab;
      }
      await sides[tab.getAttribute("aria-controls")]?.show();
    };
    tabs.forEach((tab, at) => {
      tab.addEventListener("click", () => open(tab));
      tab.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const other = tabs[(at + by + tabs.length) % tabs.length];
        other.focus();
        open(other);
      });
    });
  }
}

function failed(error) {
  document.documentElement.dataset.state = "failed";
  byId("notes").hidden = false;
  byId("notes").textContent = `This page could not be read further: ${printable(error?.message ?? error)}`;
}

window.addEventListener("unhandledrejection", (event) => failed(event.reason));
try {
  const page = new Page(await Data.open());
  // For the console and for tests: what is shown, and where.
  window.explorer = page;
  await page.start();
} catch (error) {
  failed(error);
}
