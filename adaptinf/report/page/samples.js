// Single samples: cards with images and text, and the map, which shows a card on hover.

function thumbnails(numbers, total) {
  const box = element("div", "images");
  for (const index of numbers === "" ? [] : numbers.split(" ")) {
    const image = element("img");
    image.src = report.images[Number(index)];
    image.alt = "";
    box.append(image);
  }
  const hidden = total - box.childElementCount;
  if (hidden > 0) box.append(element("p", "about", `${hidden} more ${hidden === 1 ? "image is" : "images are"} not shown`));
  return box.childElementCount ? box : null;
}

// The texts come from the data, so they are set as text, never as HTML.
function fill(card, row, about) {
  const images = thumbnails(row.images, row.num_images);
  if (images) card.append(images);
  card.append(element("p", "question-text data", row.question || "(no question)"));
  card.append(element("p", "answer-text data", row.answer || "(no answer)"));
  card.append(element("p", "about data", [row.id, ...about].filter(Boolean).join(" · ")));
  return card;
}

// For many names: hues by the golden angle, so that neighbours in the list differ.
const spread = (index) => `hsl(${Math.round((index * 137.508) % 360)}, ${index % 2 ? 70 : 50}%, ${[48, 62, 38][index % 3]}%)`;
const fateColors = { chosen: "c0", "left out": "c9", pruned: "c7", "chosen, then pruned": "c4" };
const fateNames = { chosen: "selected", "left out": "not selected", pruned: "pruned", "chosen, then pruned": "selected, then pruned" };

charts.map = function map(canvas, allRows, figure) {
  const rows = ofRun(allRows);
  const kinds = [["cluster", "cluster"], ["source", "source"], ...(rows.some((row) => row.skill) ? [["skill", "true skill"]] : []), ["fate", "what happened to it"]];
  const by = choice(figure, "color", "Colour by", kinds);
  const names = unique(rows.map((row) => row[by])).sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
  const traces = names.map((name, index) => {
    const own = rows.filter((row) => row[by] === name);
    const shade = by === "fate" ? color(fateColors[name]) : names.length > 10 ? spread(index) : palette(index);
    return {
      name: by === "cluster" ? `cluster ${name}` : by === "fate" ? fateNames[name] : shortened(name === "" ? "unknown" : name), mode: "markers", x: own.map((row) => row.x), y: own.map((row) => row.y), customdata: own.map((row) => rows.indexOf(row)),
      marker: { size: 7, opacity: 0.78, color: shade, line: { width: 0.5, color: color("surface") } }, hoverinfo: "none",
    };
  });
  const free = !isNarrow(canvas);
  const done = show(canvas, traces, {
    height: free ? 560 : 400, hovermode: "closest", hoverdistance: 16, showlegend: names.length > 1 && names.length <= (free ? 30 : 12), dragmode: free ? "zoom" : false,
    xaxis: { showticklabels: false, fixedrange: !free, title: { text: `${free ? "first two principal components: " : ""}${number(100 * rows[0].variance_shown, 0)} % of the variance` } },
    yaxis: { showticklabels: false, fixedrange: !free },
    legend: { orientation: "h", x: 0, y: -0.08, yanchor: "top" },
  });
  watch(canvas, rows);
  return done;
};

const watched = new WeakMap();

function watch(canvas, rows) {
  if (!watched.has(canvas)) {
    const open = (event) => hoverCard(watched.get(canvas)[event.points[0].customdata], event.event);
    canvas.on("plotly_hover", open);
    canvas.on("plotly_click", open);
    canvas.on("plotly_unhover", () => { document.getElementById("hover").hidden = true; });
  }
  watched.set(canvas, rows);
}

function hoverCard(row, event) {
  const card = document.getElementById("hover");
  card.replaceChildren();
  fill(card, row, [`cluster ${row.cluster}`, row.skill, fateNames[row.fate]]);
  card.hidden = false;
  const point = event.touches && event.touches.length ? event.touches[0] : event;
  const left = Math.min(point.clientX + 14, innerWidth - card.offsetWidth - 8);
  const top = point.clientY + 14 + card.offsetHeight > innerHeight ? point.clientY - card.offsetHeight - 14 : point.clientY + 14;
  card.style.left = `${Math.max(8, left)}px`;
  card.style.top = `${Math.max(8, top)}px`;
}
