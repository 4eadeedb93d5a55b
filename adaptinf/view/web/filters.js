// Which rows are shown: a row passes when it passes every filter. Each filter keeps the rows that pass it.

export class Filters {
  constructor(numRows) {
    this.numRows = numRows;
    this.all = new Map(); // name -> {label, pass: Uint8Array, ...}
    this.fails = new Uint8Array(numRows);
    this.count = numRows;
    this.listeners = [];
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  set(name, filter) {
    if (filter === null) this.all.delete(name);
    else this.all.set(name, filter);
    this.apply();
  }

  get(name) {
    return this.all.get(name);
  }

  clear() {
    this.all.clear();
    this.apply();
  }

  apply() {
    this.fails.fill(0);
    for (const { pass } of this.all.values()) {
      for (let row = 0; row < this.numRows; row++) this.fails[row] += 1 - pass[row];
    }
    this.count = 0;
    for (let row = 0; row < this.numRows; row++) this.count += this.fails[row] === 0;
    this.listeners.forEach((listener) => listener());
  }

  // Rows that pass, ascending.
  shown() {
    const rows = new Uint32Array(this.count);
    let at = 0;
    for (let row = 0; row < this.numRows; row++) if (this.fails[row] === 0) rows[at++] = row;
    return rows;
  }

  // Whether a row passes all filters but one, by which the counts beside that filter's choices are made.
  passesOthers(name) {
    const own = this.all.get(name)?.pass;
    const fails = this.fails;
    return own ? (row) => fails[row] === 1 - own[row] : (row) => fails[row] === 0;
  }
}

export function ofCategories(column, codes) {
  const wanted = new Uint8Array(column.values.length);
  codes.forEach((code) => (wanted[code] = 1));
  const pass = new Uint8Array(column.data.length);
  for (let row = 0; row < pass.length; row++) pass[row] = wanted[column.data[row]];
  const names = [...codes].map((code) => column.values[code]);
  const label = names.length > 2 ? `${names.length} values` : names.join(" or ");
  return { label: `${column.name}: ${label}`, pass, codes };
}

export function ofRange(column, low, high, shown) {
  const pass = new Uint8Array(column.data.length);
  for (let row = 0; row < pass.length; row++) pass[row] = column.data[row] >= low && column.data[row] <= high;
  const from = low === -Infinity ? "" : shown(low);
  const to = high === Infinity ? "" : shown(high);
  const label = from && to ? `${from} to ${to}` : from ? `≥ ${from}` : `≤ ${to}`;
  return { label: `${column.name} ${label}`, pass, low, high };
}
