// Charts: each turns the rows of its figure into traces and a layout, which `show` passes to plotly.

const isNarrow = (canvas) => canvas.clientWidth < 560;

function axis(extra = {}) {
  const grid = color("grid");
  return { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true, fixedrange: true, ...extra };
}

function show(canvas, traces, { height = 340, xaxis, yaxis, ...others } = {}) {
  const layout = {
    height,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("muted") },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hoverlabel: { bgcolor: color("surface"), bordercolor: color("line"), font: { color: color("ink") }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
    showlegend: traces.length > 1,
    bargap: 0.3,
    dragmode: false,
    xaxis: axis(xaxis),
    yaxis: axis(yaxis),
    ...others,
  };
  return Plotly.react(canvas, traces, layout, { displayModeBar: false, responsive: true, doubleClick: "reset" });
}

const ofRun = (rows) => rows.filter((row) => row.run === state.run);
const stepName = (row) => (row.dataset === undefined ? `step ${row.step}` : `${row.step} ${shortened(row.dataset, 14)}`);

const charts = {
  accuracy(canvas, rows) {
    const groups = unique(rows.map((row) => row.run));
    const traces = groups.map((group) => {
      const own = rows.filter((row) => row.run === group);
      const hasInterval = own.some((row) => row.low !== null);
      return {
        name: shortened(group), x: own.map((row) => row.step), y: own.map((row) => row.mean), mode: "lines+markers",
        line: { color: palette(report.groups.indexOf(group)), width: 2.5 }, marker: { size: 7 },
        error_y: hasInterval ? { type: "data", array: own.map((row) => row.high - row.mean), thickness: 1.2, width: 4 } : undefined,
        text: own.map((row) => `${asText(group)}: ${number(row.mean)} %${row.low === null ? "" : ` (${number(row.low)} to ${number(row.high)})`}`),
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    for (const group of groups) {
      const own = rows.filter((row) => row.run === group && row.tolerant !== null);
      if (own.length) {
        traces.push({
          name: `${shortened(group)}, any format`, x: own.map((row) => row.step), y: own.map((row) => row.tolerant), mode: "lines+markers",
          line: { color: palette(report.groups.indexOf(group)), width: 1.5, dash: "dot" }, marker: { size: 4 },
          text: own.map((row) => `${asText(group)}, whatever the format: ${number(row.tolerant)} %`), hovertemplate: "%{text}<extra></extra>",
        });
      }
    }
    const names = new Map(rows.map((row) => [row.step, row.step ? stepName(row) : "base"]));
    const ticks = [...names.keys()];
    return show(canvas, traces, {
      showlegend: true,
      xaxis: { tickvals: ticks, ticktext: ticks.map((step) => names.get(step)), showgrid: false },
      yaxis: { rangemode: "tozero", ticksuffix: " %" },
    });
  },

  pool(canvas, allRows) {
    const rows = ofRun(allRows);
    const names = rows.map(stepName);
    const bar = (name, key, fill) => ({
      type: "bar", name, x: names, y: rows.map((row) => row[key]), marker: { color: fill },
      text: rows.map((row) => `${number(row[key])} ${name}; ${number(row.arrived)} arrived, ${number(row.pruned)} pruned`),
      textposition: "none", hovertemplate: "%{text}<extra></extra>",
    });
    const cap = rows[0].cap;
    const shapes = typeof cap === "number" ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: cap, y1: cap, line: { color: color("bad"), dash: "dash", width: 1.5 } }] : [];
    const annotations = shapes.length ? [{ xref: "paper", x: 1, y: cap, text: `cap ${number(cap)}`, showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: color("bad") } }] : [];
    return show(canvas, [bar("before pruning", "before", color("pool")), bar("after pruning", "after", color("c0"))], {
      xaxis: { type: "category", showgrid: false }, yaxis: { rangemode: "tozero" }, shapes, annotations, bargroupgap: 0.08,
    });
  },

  ages(canvas, allRows) {
    const rows = ofRun(allRows);
    const names = rows.map((row) => `step ${row.step}`);
    const why = (row) => row.everything ? `; everything: ${asText(row.everything)}` : `; oldest: ${number(row.oldest)} steps`;
    const bar = (name, key, fill) => ({
      type: "bar", name, x: names, y: rows.map((row) => row[key]), marker: { color: fill },
      text: rows.map((row) => `${number(row[key])} ${name}${why(row)}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    });
    return show(canvas, [bar("measured", "measured", color("c0")), bar("carried over", "carried", color("pool"))], {
      barmode: "stack", xaxis: { type: "category", showgrid: false }, yaxis: { rangemode: "tozero" },
    });
  },

  deciders(canvas, allRows) {
    const rows = ofRun(allRows);
    const steps = unique(rows.map((row) => row.step)).sort((a, b) => a - b);
    const scorers = unique(allRows.map((row) => row.scorer));
    const traces = scorers.map((scorer) => {
      const counts = steps.map((step) => rows.filter((row) => row.step === step && row.scorer === scorer && row.decided).length);
      return {
        type: "bar", orientation: "h", name: shortened(scorer), y: steps.map((step) => `step ${step}`), x: counts,
        marker: { color: colorOf("scorer", scorer, scorers) }, text: counts.map((count) => count || ""), textposition: "inside", insidetextanchor: "middle", textangle: 0,
        textfont: { color: color("surface") }, hovertemplate: `${asText(scorer)}: %{x} clusters<extra></extra>`,
      };
    });
    return show(canvas, traces, { barmode: "stack", height: 90 + 36 * steps.length, yaxis: { type: "category", autorange: "reversed", showgrid: false }, xaxis: { title: { text: "clusters" } } });
  },

  entropies(canvas, allRows, figure) {
    const ofThisRun = ofRun(allRows);
    const step = choice(figure, "step", "Step", stepOptions(ofThisRun));
    const rows = ofThisRun.filter((row) => row.step === step);
    const scorers = unique(allRows.map((row) => row.scorer));
    const sizes = new Map(rows.map((row) => [row.cluster, row.size]));
    const clusters = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a));
    const place = new Map(clusters.map((cluster, index) => [cluster, index]));
    const traces = scorers.map((scorer) => {
      const own = rows.filter((row) => row.scorer === scorer);
      const fill = colorOf("scorer", scorer, scorers);
      return {
        name: shortened(scorer), mode: "markers", x: own.map((row) => row.entropy_bits), y: own.map((row) => place.get(row.cluster)),
        marker: { size: own.map((row) => (row.decided ? 11 : 8)), color: own.map((row) => (row.decided ? fill : "rgba(0,0,0,0)")), line: { color: fill, width: 1.6 } },
        text: own.map((row) => `cluster ${row.cluster}: ${row.size} samples, budget ${row.budget}<br>${asText(scorer)} ${number(row.entropy_bits, 2)} bits${row.decided ? ", decided" : ""}`),
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    canvas.parentElement.classList.add("tall");
    const height = 110 + 21 * clusters.length;
    return show(canvas, traces, {
      height,
      margin: { l: 8, r: 8, t: 84, b: 8 },
      xaxis: { title: { text: "entropy, bits", standoff: 4 }, side: "top" },
      yaxis: { tickvals: clusters.map((_, index) => index), ticktext: clusters.map((cluster) => (isNarrow(canvas) ? `${cluster} (${sizes.get(cluster)})` : `cluster ${cluster} (${sizes.get(cluster)})`)), range: [clusters.length - 0.4, -0.6] },
      // Above the axis, which is at the top because the chart is taller than its box.
      legend: { orientation: "h", x: 0, y: 1 + 48 / (height - 92), yanchor: "bottom", traceorder: "normal", itemsizing: "constant" },
    });
  },

  histograms(canvas, allRows, figure) {
    const ofThisRun = ofRun(allRows);
    const step = choice(figure, "step", "Step", stepOptions(ofThisRun));
    const ofStep = ofThisRun.filter((row) => row.step === step);
    const entropies = ofRun(rowsOf("scorers")).filter((row) => row.step === step);
    const about = (cluster) => entropies.find((row) => row.cluster === cluster && row.decided);
    const options = unique(ofStep.map((row) => row.cluster)).map((cluster) => [cluster, `cluster ${cluster}${about(cluster) ? `: ${about(cluster).scorer} decided` : ""}`]);
    const cluster = choice(figure, "cluster", "Cluster", options);
    const rows = ofStep.filter((row) => row.cluster === cluster);
    const bins = Object.keys(rows[0]).filter((name) => name.startsWith("bin_"));
    const width = 8 / bins.length;
    const centers = bins.map((name) => Number(name.slice(4)) + width / 2);
    const scorers = unique(allRows.map((row) => row.scorer));
    const down = isNarrow(canvas);
    const layout = { grid: { rows: down ? rows.length : 1, columns: down ? 1 : rows.length, pattern: "independent", xgap: 0.1, ygap: 0.35 }, annotations: [] };
    const traces = rows.map((row, index) => {
      const suffix = index ? index + 1 : "";
      const entropy = entropies.find((other) => other.cluster === cluster && other.scorer === row.scorer);
      layout[`xaxis${suffix}`] = axis({ range: [-4.1, 4.1], tickvals: [-4, -2, 0, 2, 4], showgrid: false });
      layout[`yaxis${suffix}`] = axis({ rangemode: "tozero", nticks: 4 });
      layout.annotations.push({
        xref: `x${suffix} domain`, yref: `y${suffix} domain`, x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", showarrow: false, align: "left",
        font: { color: entropy && entropy.decided ? color("ink") : color("muted") },
        text: `${shortened(row.scorer)} · ${entropy ? number(entropy.entropy_bits, 2) : "–"} bits${entropy && entropy.decided ? " · <b>decided</b>" : ""}`,
      });
      return {
        type: "bar", x: centers, y: bins.map((name) => row[name]), width, xaxis: `x${suffix}`, yaxis: `y${suffix}`, name: shortened(row.scorer),
        marker: { color: colorOf("scorer", row.scorer, scorers), opacity: entropy && entropy.decided ? 1 : 0.5 }, hovertemplate: "%{y} samples near %{x:.2f}<extra></extra>",
      };
    });
    return show(canvas, traces, { ...layout, height: down ? 170 * rows.length : 250, showlegend: false, bargap: 0, margin: { l: 8, r: 8, t: 30, b: 8 }, xaxis: layout.xaxis, yaxis: layout.yaxis });
  },

  shares(canvas, allRows, figure) {
    const ofThisRun = ofRun(allRows);
    const by = choice(figure, "by", "By", unique(ofThisRun.map((row) => row.by)).map((kind) => [kind, kind]));
    const rows = ofThisRun.filter((row) => row.by === by);
    const steps = unique(rows.map((row) => row.step)).sort((a, b) => a - b);
    const totals = new Map();
    rows.forEach((row) => totals.set(row.name, (totals.get(row.name) || 0) + row.chosen));
    const ranked = [...totals.keys()].sort((a, b) => totals.get(b) - totals.get(a));
    const top = ranked.slice(0, ranked.length > 10 ? 9 : 10);
    // In the order of the stream, the oldest at the bottom; skills by frequency.
    const first = new Map(top.map((name) => [name, Math.min(...rows.filter((row) => row.name === name).map((row) => row.step))]));
    const named = by === "true skill" ? top : [...top].sort((a, b) => first.get(a) - first.get(b) || a.localeCompare(b, "en", { numeric: true }));
    const chosenAt = (step, test) => rows.filter((row) => row.step === step && test(row.name)).reduce((sum, row) => sum + row.chosen, 0);
    const trace = (name, test, fill) => {
      const counts = steps.map((step) => chosenAt(step, test));
      const all = steps.map((step) => chosenAt(step, () => true) || 1);
      return {
        type: "bar", name: shortened(by === "arrived in step" ? `from step ${name}` : name), x: steps.map((step) => `step ${step}`), y: counts.map((count, index) => (100 * count) / all[index]),
        marker: { color: fill }, text: counts.map((count, index) => `${asText(name)}: ${number(count)} of ${number(all[index])}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
      };
    };
    const traces = named.map((name, index) => trace(name, (other) => other === name, palette(index)));
    if (ranked.length > top.length) traces.push(trace(`${ranked.length - top.length} others`, (other) => !top.includes(other), color("pool")));
    return show(canvas, traces, { barmode: "stack", height: 360, showlegend: true, xaxis: { type: "category", showgrid: false }, yaxis: { ticksuffix: " %", range: [0, 100] } });
  },

  favours(canvas, allRows, figure) {
    const ofThisRun = ofRun(allRows);
    const by = choice(figure, "by", "By", unique(ofThisRun.map((row) => row.by)).map((kind) => [kind, kind]).reverse());
    const step = choice(figure, "step", "Step", stepOptions(ofThisRun));
    const rows = ofThisRun.filter((row) => row.by === by && row.step === step);
    const shown = rows.slice(0, 40);
    const total = (key) => rows.reduce((sum, row) => sum + row[key], 0) || 1;
    const bar = (name, key, fill, thick) => ({
      type: "bar", orientation: "h", name, y: shown.map((_, index) => index), x: shown.map((row) => (100 * row[key]) / total(key)), width: thick, marker: { color: fill },
      text: shown.map((row) => `${asText(row.name)}: ${number(row[key])} of ${number(total(key))} ${key === "pool" ? "in the pool" : "selected"}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    });
    return show(canvas, [bar("share of the pool", "pool", color("pool"), 0.82), bar("share of the selected samples", "chosen", color("c0"), 0.4)], {
      barmode: "overlay", height: 80 + 24 * shown.length, xaxis: { ticksuffix: " %" },
      yaxis: { tickvals: shown.map((_, index) => index), ticktext: shown.map((row) => shortened(row.name, isNarrow(canvas) ? 14 : 26)), range: [shown.length - 0.4, -0.6], showgrid: false },
    });
  },

  loss(canvas, allRows) {
    const rows = ofRun(allRows);
    const steps = unique(rows.map((row) => row.step)).sort((a, b) => a - b);
    const traces = steps.map((step) => {
      const own = rows.filter((row) => row.step === step);
      return {
        name: stepName(own[0]), x: own.map((row) => step - 1 + row.share), y: own.map((row) => row.loss), mode: own.length > 1 ? "lines" : "markers",
        line: { color: color("c0"), width: 2 },
        text: own.map((row) => `step ${step}${row.epoch === null ? "" : `, epoch ${number(row.epoch, 2)}`}: loss ${number(row.loss, 3)}`),
        hovertemplate: "%{text}<extra></extra>",
      };
    });
    return show(canvas, traces, {
      showlegend: false, yaxis: { rangemode: "tozero" },
      xaxis: { tickvals: steps.map((step) => step - 0.5), ticktext: steps.map((step) => stepName(rows.find((row) => row.step === step))), showgrid: false },
    });
  },

  time: (canvas, rows, figure) => byStage(canvas, rows, figure, "seconds", (value) => seconds(value), "seconds"),
  disk: (canvas, rows, figure) => byStage(canvas, rows, figure, "bytes", (value) => `${number(value / 1e6)} MB`, "MB"),
};

function byStage(canvas, allRows, figure, key, say, unit) {
  const stages = unique(allRows.map((row) => row.stage));
  const runs = unique(allRows.map((row) => row.run));
  const views = [...(runs.length > 1 ? [["run", "all runs"]] : []), ["step", "steps of one run"]];
  const view = choice(figure, "view", "Show", views);
  const rows = view === "run" ? allRows : ofRun(allRows);
  const placeOf = (row) => (view === "run" ? row.run : row.step);
  const places = unique(rows.map(placeOf));
  const name = (place) => (view === "run" ? shortened(place, 20) : place ? `step ${place}` : "base");
  const largest = Math.max(...places.map((place) => rows.filter((row) => placeOf(row) === place).reduce((sum, row) => sum + (row[key] || 0), 0)));
  const [factor, shownUnit] = unit === "MB" ? (largest > 5e9 ? [1e9, "GB"] : [1e6, "MB"]) : largest > 10800 ? [3600, "hours"] : largest > 300 ? [60, "minutes"] : [1, "seconds"];
  const traces = stages.map((stage, index) => {
    const totals = places.map((place) => rows.filter((row) => row.stage === stage && placeOf(row) === place).reduce((sum, row) => sum + (row[key] || 0), 0));
    return {
      type: "bar", orientation: "h", name: stage, y: places.map((_, place) => place), x: totals.map((total) => total / factor), marker: { color: palette(index) },
      text: totals.map((total) => `${stage}: ${say(total)}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    };
  });
  return show(canvas, traces, {
    barmode: "stack", height: 110 + 34 * places.length, xaxis: { title: { text: shownUnit }, rangemode: "tozero" },
    yaxis: { tickvals: places.map((_, place) => place), ticktext: places.map(name), range: [places.length - 0.4, -0.6], showgrid: false },
  });
}
