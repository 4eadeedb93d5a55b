// Start of the page: figures are drawn when they come near the visible part, and all of them in the end.

const figures = [...document.querySelectorAll("figure[data-figure]")];
const waiting = new Set(figures);
// Figures of a single run follow the select box of runs; these figures show all runs.
const comparing = new Set(["accuracy"]);

function missingReason(figure) {
  const table = report.figures[figure.dataset.table];
  const rows = rowsOf(figure.dataset.table);
  const name = figure.dataset.figure;
  if (comparing.has(name)) return rows.length ? null : Object.values(table.missing)[0];
  if (rows.some((row) => row.run === state.run)) return null;
  return table.missing[state.run] || "This run has no data for this figure.";
}

function draw(figure) {
  waiting.delete(figure);
  const canvas = figure.querySelector(".canvas");
  figure.querySelector(".controls").replaceChildren();
  const reason = missingReason(figure);
  if (reason !== null) {
    if (canvas.classList.contains("js-plotly-plot")) {
      Plotly.purge(canvas);
      watched.delete(canvas);
    }
    canvas.replaceChildren(element("p", "missing data", reason));
  } else {
    if (!canvas.classList.contains("js-plotly-plot")) canvas.replaceChildren();
    charts[figure.dataset.figure](canvas, rowsOf(figure.dataset.table), figure);
  }
  figure.dataset.state = reason === null ? "drawn" : "missing";
}

function drawAll() {
  figures.forEach(draw);
}

function showRun() {
  for (const panel of document.querySelectorAll(".of-run")) panel.hidden = panel.dataset.run !== state.run;
  figures.filter((figure) => !waiting.has(figure) && !comparing.has(figure.dataset.figure)).forEach(draw);
}

function offerRuns() {
  const select = document.getElementById("run");
  report.runs.forEach((run) => {
    const option = element("option", "", run);
    option.value = run;
    select.append(option);
  });
  select.closest("label").hidden = report.runs.length < 2;
  select.addEventListener("change", () => {
    state.run = select.value;
    showRun();
  });
}

function offerTables() {
  for (const link of document.querySelectorAll("a[data-csv]")) {
    link.hidden = !rowsOf(link.dataset.csv).length;
    link.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob(["\ufeff", csvOf(link.dataset.csv)], { type: "text/csv" }));
      link.href = url;
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    });
  }
}

function drawWhenNear() {
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting && waiting.has(entry.target)).forEach((entry) => draw(entry.target)),
    { rootMargin: "500px" },
  );
  figures.forEach((figure) => watcher.observe(figure));
  // The others one at a time while the browser is idle, so that searching and printing include them.
  const idle = window.requestIdleCallback || ((run) => setTimeout(run, 60));
  const next = () => {
    const [figure] = waiting;
    if (figure) {
      draw(figure);
      idle(next);
    }
  };
  idle(next);
}

offerRuns();
offerTables();
showRun();
drawWhenNear();

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
// Print with the light theme, whatever the screen has.
window.addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  drawAll();
});
window.addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  drawAll();
});
window.addEventListener("scroll", () => { document.getElementById("hover").hidden = true; }, { passive: true });
