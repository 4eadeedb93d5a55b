// Galleries of cards, and pruned samples beside their near-duplicates.

charts.gallery = function gallery(canvas, allRows, figure) {
  const rows = ofRun(allRows);
  const sizes = new Map(rows.map((row) => [row.cluster, row.size]));
  const options = [...sizes].sort((a, b) => b[1] - a[1]).map(([cluster, size]) => [cluster, `${cluster < 0 ? "unscored" : `cluster ${cluster}`} (${size} samples)`]);
  const cluster = choice(figure, "cluster", "Cluster", options);
  const own = rows.filter((row) => row.cluster === cluster);
  const titles = {
    "most typical": ["Most typical", "nearest to the center", "has a vector"], chosen: ["Selected", "to be trained on in this step", "was selected"],
    "left out": ["Not selected", "in this step, but still in the pool", "was left out"], pruned: ["Pruned", "removed from the pool", "was pruned"],
  };
  canvas.replaceChildren();
  for (const [shelf, [name, gloss, verb]] of Object.entries(titles)) {
    const cards = own.filter((row) => row.shelf === shelf);
    const title = element("h4", "shelf", `${name} `);
    title.append(element("small", "", gloss));
    canvas.append(title);
    if (!cards.length) {
      canvas.append(element("p", "missing", `No sample of this cluster ${verb}.`));
      continue;
    }
    const grid = element("div", "cardgrid");
    for (const row of cards) {
      grid.append(fill(element("div", "card"), row, [row.skill, row.scorer && row.scorer !== "none" && shelf === "chosen" ? `${row.scorer} ${number(row.score, 2)}` : ""]));
    }
    canvas.append(grid);
  }
};

charts.pairs = function pairs(canvas, allRows) {
  const list = element("div", "pairs");
  for (const row of ofRun(allRows)) {
    const pair = element("div", "pair");
    const side = (prefix, about) => {
      const names = ["id", "question", "answer", "images", "num_images", "skill"];
      const sample = Object.fromEntries(names.map((name) => [name, row[`${prefix}_${name}`]]));
      return fill(element("div", "card"), sample, [sample.skill, about]);
    };
    const cosine = element("div", "cosine", row.similarity.toFixed(4));
    cosine.append(element("small", "", `similarity, step ${row.step}, cluster ${row.cluster}`));
    pair.append(side("pruned", "pruned"), cosine, side("neighbour", row.neighbour_stayed ? "stayed" : "pruned too"));
    list.append(pair);
  }
  canvas.replaceChildren(list);
};
