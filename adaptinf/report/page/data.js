// The tables of the report: rows, CSV, colours, and the choices of the reader.

const report = JSON.parse(document.getElementById("report-data").textContent);
const state = { run: report.runs[0] };
const tableCache = new Map();

function rowsOf(table) {
  if (!tableCache.has(table)) {
    const columns = report.figures[table].columns;
    const names = Object.keys(columns);
    const count = names.length ? columns[names[0]].length : 0;
    const rows = Array.from({ length: count }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
    tableCache.set(table, rows);
  }
  return tableCache.get(table);
}

const unique = (values) => [...new Set(values)];

function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const text = looksLikeFormula(value) ? `'${value}` : value;
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A spreadsheet would run such a text: blanks, invisible characters and quotes before the sign do not hinder all of
// them, and full-width signs count as the sign. A number with a sign is a number.
function looksLikeFormula(value) {
  const text = value.normalize("NFKC");
  if (/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?%?$/i.test(text)) return false;
  return /^[\t\r\n]/.test(text) || /^[\s\p{C}\p{Quotation_Mark}`]*[=+\-@]/u.test(text);
}

function csvOf(table) {
  const names = Object.keys(report.figures[table].columns);
  const lines = rowsOf(table).map((row) => names.map((name) => csvCell(row[name])).join(","));
  return [names.map(csvCell).join(","), ...lines].join("\r\n") + "\r\n";
}

// Plotly interprets tags and entities in labels, but names from the data must appear unchanged.
function asText(value) {
  return String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "%&#8203;{");
}

function shortened(value, length = 22) {
  const text = String(value);
  return asText(text.length > length ? `${text.slice(0, length - 1)}…` : text);
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const palette = (number) => color(`c${number % 10}`);
const orders = new Map();

// A name has the same colour in every figure, given by its position among all names of its kind.
function colorOf(kind, name, names) {
  if (!orders.has(kind)) orders.set(kind, unique(names));
  return palette(Math.max(0, orders.get(kind).indexOf(name)));
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const number = (value, digits = 1) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${String(Math.floor(value % 60)).padStart(2, "0")} s`;
  return `${Math.floor(value / 3600)} h ${String(Math.floor((value % 3600) / 60)).padStart(2, "0")} min`;
}

// The values of the select boxes of each figure; a value that the run does not have is replaced by the first one.
const choices = new WeakMap();

function choice(figure, name, label, options) {
  if (!choices.has(figure)) choices.set(figure, {});
  const chosen = choices.get(figure);
  if (!options.some(([value]) => value === chosen[name])) chosen[name] = options.length ? options[0][0] : null;
  if (options.length > 1) {
    const box = element("label", "", `${label} `);
    const select = element("select");
    select.dataset.choice = name;
    options.forEach(([value, text], index) => {
      const option = element("option", "", text);
      option.value = String(index);
      option.selected = value === chosen[name];
      select.append(option);
    });
    select.addEventListener("change", () => {
      chosen[name] = options[Number(select.value)][0];
      draw(figure);
    });
    box.append(select);
    figure.querySelector(".controls").append(box);
  }
  return chosen[name];
}

const stepOptions = (rows) => unique(rows.map((row) => row.step)).sort((a, b) => b - a).map((step) => [step, `step ${step}`]);
