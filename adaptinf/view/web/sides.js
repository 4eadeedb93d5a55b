// Test items and rejected rows: tables of their own, filtered by words and, for tests, by skill and outcome.

import { json } from "./data.js";
import { byId, counted, element, printable, shownNumber } from "./dom.js";

const PAGE = 100;

const OUTCOMES = {
  "all answers": () => true,
  right: (row, at) => row[at.score] === 1,
  "not right": (row, at) => row[at.score] !== 1 && row[at.score] !== null,
  "right in another form": (row, at) => row[at.score] !== 1 && row[at.tolerant] === 1,
  "cut off": (row, at) => row[at.stop] === "length",
};

export class SideTable {
  constructor(name, title, empty) {
    this.box = byId(name);
    this.name = name;
    this.title = title;
    this.empty = empty;
    this.page = 0;
  }

  async show() {
    if (this.table) return;
    this.table = await json(`${this.name}.json`);
    const at = (this.at = Object.fromEntries(this.table.columns.map((column, place) => [column, place])));
    if (!this.table.rows.length) {
      this.box.replaceChildren(element("p", { class: "missing", text: this.empty }));
      return;
    }
    this.words = element("input", { type: "search", placeholder: "Filter by words", "aria-label": "Filter by words" });
    const choices = [this.words];
    if (at.skill !== undefined) {
      const skills = [...new Set(this.table.rows.map((row) => row[at.skill]))];
      this.skill = element("select", { "aria-label": "Skill" }, element("option", { text: "all skills", value: "" }),
        ...skills.map((skill) => element("option", { text: printable(skill), value: skill })));
      this.outcome = element("select", { "aria-label": "Outcome" }, ...Object.keys(OUTCOMES).map((text) => element("option", { text, value: text })));
      choices.push(this.skill, this.outcome);
    }
    for (const choice of choices) {
      choice.addEventListener("input", () => {
        this.page = 0;
        this.rows();
      });
    }
    this.count = element("span", { role: "status" });
    this.body = element("tbody");
    this.before = element("button", { text: "‹", "aria-label": "Previous rows", on: { click: () => this.turn(-1) } });
    this.after = element("button", { text: "›", "aria-label": "Next rows", on: { click: () => this.turn(1) } });
    const head = element("thead", {}, element("tr", {}, ...this.table.columns.map((text) => element("th", { scope: "col", text }))));
    this.box.replaceChildren(element("div", { class: "bar" }, element("h2", { text: this.title }), ...choices, element("span", { class: "spring" }), this.count, this.before, this.after),
      element("div", { class: "table" }, element("table", {}, head, this.body)));
    this.rows();
  }

  turn(by) {
    this.page += by;
    this.rows();
  }

  rows() {
    const words = this.words.value.toLowerCase();
    const passes = (row) => (!this.skill?.value || row[this.at.skill] === this.skill.value)
      && (!this.outcome || OUTCOMES[this.outcome.value](row, this.at))
      && (!words || row.some((cell) => String(cell).toLowerCase().includes(words)));
    const rows = this.table.rows.filter(passes);
    const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
    this.page = Math.min(Math.max(this.page, 0), last);
    const part = rows.slice(this.page * PAGE, (this.page + 1) * PAGE);
    const cell = (value) => value === null ? element("td", { class: "number", text: "–" })
      : typeof value === "number" ? element("td", { class: "number", text: shownNumber(value) })
        : element("td", { class: "text" }, element("div", { class: "data", text: printable(value) }));
    this.body.replaceChildren(...part.map((row) => {
      const line = element("tr", {}, ...row.map(cell));
      if (this.at.score !== undefined && row[this.at.score] !== null) line.className = row[this.at.score] === 1 ? "right" : "wrong";
      return line;
    }));
    const left = this.table.total - this.table.rows.length;
    this.count.textContent = `${counted(rows.length)} of ${counted(this.table.total)}${left ? ` (the first ${counted(this.table.rows.length)} are here)` : ""}`;
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page === last;
  }
}
