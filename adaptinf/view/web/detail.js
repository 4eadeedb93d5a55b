// One sample: its images and turns, every column, and its neighbours.

import { questionOf } from "./data.js";
import { byId, element, printable, shownNumber } from "./dom.js";
import { ofCategories } from "./filters.js";

export class Detail {
  constructor(data, filters, onChoose, onClose) {
    this.data = data;
    this.filters = filters;
    this.onChoose = onChoose;
    this.onClose = onClose;
    const large = byId("large");
    large.addEventListener("click", () => large.close());
  }

  async neighboursOf(row) {
    const count = this.data.view.map?.neighbours ?? 0;
    if (!count) return [];
    const all = await this.data.neighbours();
    return [...all.slice(row * count, (row + 1) * count)].filter((other) => other >= 0);
  }

  async show(row) {
    const asked = (this.asked = Symbol("request"));
    const [record, near] = await Promise.all([
      this.data.row(row), this.neighboursOf(row), ...this.data.columns.map((column) => this.data.values(column)),
    ]);
    const others = await Promise.all(near.map((other) => this.data.row(other)));
    if (this.asked !== asked) return;
    const side = byId("detail");
    side.hidden = false;
    side.dataset.row = String(row);
    side.dataset.id = record.id;
    side.replaceChildren(this.head(record), this.images(record), this.turns(record), this.fields(row), this.near(row, near, others));
    side.scrollTop = 0;
  }

  close() {
    this.asked = null;
    byId("detail").hidden = true;
    this.onClose();
  }

  head(record) {
    return element("div", { class: "side-head" }, element("h2", { class: "data", text: printable(record.id) }),
      element("button", { "aria-label": "Close", text: "×", on: { click: () => this.close() } }));
  }

  images(record) {
    const box = element("div", { class: "images" });
    for (const number of record.images) {
      const image = element("img", { src: `data/thumbs/${number}.jpg`, alt: `image ${number}` });
      image.addEventListener("error", () => image.replaceWith(element("span", { class: "missing", text: "No thumbnail of this image." })));
      const button = element("button", { class: "thumb", title: "Larger", on: { click: () => this.enlarge(number) } }, image);
      box.append(button);
    }
    if (record.more_images) box.append(element("span", { class: "quiet", text: `and ${record.more_images} more` }));
    return box;
  }

  enlarge(number) {
    const large = byId("large");
    large.querySelector("img").src = `data/${this.data.view.is_static ? "thumbs" : "images"}/${number}.jpg`;
    large.showModal();
  }

  turns(record) {
    const box = element("div", { class: "turns" });
    for (const [role, text] of record.turns) {
      const kind = ["user", "assistant", "system"].includes(role) ? role : "other";
      box.append(element("div", { class: `turn ${kind}` }, element("span", { class: "role data", text: printable(role) }), element("p", { class: "data", text: printable(text) })));
    }
    if (record.cut) box.append(element("p", { class: "quiet", text: "Long texts are cut here." }));
    return box;
  }

  fields(row) {
    const list = element("dl");
    for (const column of this.data.columns) {
      const value = column.kind === "category" ? printable(column.values[column.data[row]]) : shownNumber(column.data[row]);
      const shown = column.kind === "category"
        ? element("button", { class: "link data", title: "Show only these", text: value, on: { click: () => this.filters.set(column.name, ofCategories(column, new Set([column.data[row]]))) } })
        : element("span", { text: value });
      list.append(element("dt", { class: "data", title: column.help, text: printable(column.name) }), element("dd", {}, shown));
    }
    return list;
  }

  near(row, near, others) {
    const box = element("section", { class: "near" });
    if (!near.length) return box;
    box.append(element("h3", { text: "Most similar in its cluster" }));
    near.forEach((other, at) => {
      const record = others[at];
      const image = record.images.length ? [element("img", { src: `data/thumbs/${record.images[0]}.jpg`, alt: "", loading: "lazy", on: { error: (event) => event.target.remove() } })] : [];
      const decision = this.data.column("decision");
      box.append(element("button", { class: "neighbour", "data-row": other, on: { click: () => this.onChoose(other) } }, ...image,
        element("span", { class: "words" }, element("span", { class: "data question", text: printable(questionOf(record) || record.id) }),
          element("span", { class: "data quiet", text: `${printable(record.id)} · ${decision.values[decision.data[other]]}` }))));
    });
    return box;
  }
}
