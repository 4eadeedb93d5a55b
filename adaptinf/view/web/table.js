// The table of samples: one page of rows at a time, in any order; columns are read when they are shown.

import { answerOf, questionOf } from "./data.js";
import { byId, counted, element, printable, shownNumber } from "./dom.js";

const PAGE = 50;
const SHOWN_AT_FIRST = ["decision", "true skill", "cluster", "times selected"];
const SCORES_AT_FIRST = 2;
const NO_SCORES = ["distance", "age", "times selected", "similarity"];

export class Table {
  constructor(data, filters, onChoose) {
    this.data = data;
    this.filters = filters;
    this.onChoose = onChoose;
    this.picked = new Set();
    this.page = 0;
    this.order = null; // {column, isDown}
    this.chosen = -1;
    const scores = data.columns.filter((column) => column.kind === "number" && !NO_SCORES.includes(column.name));
    const first = [...SHOWN_AT_FIRST, ...scores.slice(0, SCORES_AT_FIRST).map((column) => column.name)];
    this.shown = new Set(data.columns.filter((column) => first.includes(column.name)));
    this.listeners = [];
    byId("previous").addEventListener("click", () => this.turn(-1));
    byId("next").addEventListener("click", () => this.turn(1));
    byId("table").addEventListener("keydown", (event) => this.key(event));
    this.menu();
    filters.onChange(() => {
      this.page = 0;
      this.arrange();
    });
  }

  onPick(listener) {
    this.listeners.push(listener);
  }

  menu() {
    const menu = byId("choice").querySelector(".menu");
    for (const column of this.data.columns) {
      const box = element("input", { type: "checkbox", checked: this.shown.has(column) });
      box.addEventListener("change", () => {
        if (box.checked) this.shown.add(column);
        else this.shown.delete(column);
        this.show();
      });
      menu.append(element("label", { title: column.help }, box, element("span", { class: "data", text: printable(column.name) })));
    }
  }

  turn(by) {
    this.page += by;
    byId("table-box").scrollTop = 0;
    this.show();
  }

  sort(column) {
    const isSame = this.order?.column === column;
    if (isSame && this.order.isDown) this.order = null;
    else this.order = { column, isDown: isSame };
    this.page = 0;
    this.arrange();
  }

  async arrange() {
    let rows = this.filters.shown();
    if (this.order) {
      const { column, isDown } = this.order;
      const values = await this.data.values(column);
      const sign = isDown ? -1 : 1;
      // Rows without a value come last, whatever the order.
      const key = (row) => values[row];
      rows = rows.slice().sort((a, b) => {
        const [one, other] = [key(a), key(b)];
        if (one !== one || other !== other) return (one !== one) - (other !== other) || a - b;
        return sign * (one - other) || a - b;
      });
    }
    this.rows = rows;
    this.show();
  }

  async show() {
    const rows = this.rows ?? (this.rows = this.filters.shown());
    const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
    this.page = Math.min(Math.max(this.page, 0), last);
    const part = [...rows.slice(this.page * PAGE, (this.page + 1) * PAGE)];
    const columns = this.data.columns.filter((column) => this.shown.has(column));
    const asked = (this.asked = Symbol("request"));
    const [records] = await Promise.all([Promise.all(part.map((row) => this.data.row(row))), ...columns.map((column) => this.data.values(column))]);
    if (this.asked !== asked) return;
    const hasImages = records.some((record) => record.images.length);
    byId("table").querySelector("thead").replaceChildren(this.head(columns, hasImages));
    byId("table").querySelector("tbody").replaceChildren(...part.map((row, at) => this.line(row, records[at], columns, hasImages)));
    byId("range").textContent = rows.length ? `${counted(this.page * PAGE + 1)}–${counted(this.page * PAGE + part.length)} of ${counted(rows.length)}` : "no sample passes these filters";
    byId("previous").disabled = this.page === 0;
    byId("next").disabled = this.page === last;
    byId("table").dataset.shown = String(rows.length);
  }

  head(columns, hasImages) {
    const cell = (text) => element("th", { scope: "col", text });
    const sorted = (column) => {
      const isSame = this.order?.column === column;
      const arrow = isSame ? (this.order.isDown ? " ↓" : " ↑") : "";
      const made = element("th", { scope: "col", "aria-sort": isSame ? (this.order.isDown ? "descending" : "ascending") : "none" },
        element("button", { class: "sort", title: column.help, text: printable(column.name) + arrow, on: { click: () => this.sort(column) } }));
      if (column.kind === "number") made.classList.add("number");
      return made;
    };
    return element("tr", {}, cell(""), ...(hasImages ? [cell("")] : []), cell("id"), cell("question"), cell("answer"), ...columns.map(sorted));
  }

  line(row, record, columns, hasImages) {
    const box = element("input", { type: "checkbox", checked: this.picked.has(row), "aria-label": `pick ${printable(record.id)}` });
    box.addEventListener("click", (event) => event.stopPropagation());
    box.addEventListener("change", () => {
      if (box.checked) this.picked.add(row);
      else this.picked.delete(row);
      this.listeners.forEach((listener) => listener());
    });
    const image = element("td", { class: "image" });
    if (record.images.length) image.append(element("img", { loading: "lazy", alt: "", src: `data/thumbs/${record.images[0]}.jpg`, on: { error: (event) => event.target.remove() } }));
    const text = (name, value) => element("td", { class: `text ${name}`, title: name === "id" ? printable(value) : "" }, element("div", { class: "data", text: printable(value) }));
    const value = (column) => column.kind === "category"
      ? element("td", { class: "data category", text: printable(column.values[column.data[row]]) })
      : element("td", { class: "number", text: shownNumber(column.data[row]) });
    return element("tr", { tabIndex: 0, "data-row": row, "aria-selected": String(row === this.chosen), on: { click: () => this.onChoose(row) } },
      element("td", { class: "pick" }, box), ...(hasImages ? [image] : []), text("id", record.id), text("question", questionOf(record)), text("answer", answerOf(record)), ...columns.map(value));
  }

  choose(row) {
    this.chosen = row;
    for (const line of byId("table").querySelectorAll("tbody tr")) line.setAttribute("aria-selected", String(Number(line.dataset.row) === row));
  }

  key(event) {
    const line = event.target.closest("tbody tr");
    if (!line || event.target.tagName === "INPUT") return;
    if (event.key === "Enter") this.onChoose(Number(line.dataset.row));
    const other = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
    if (other) {
      event.preventDefault();
      other.focus();
      this.onChoose(Number(other.dataset.row));
    }
  }
}
