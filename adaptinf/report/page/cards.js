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

charts.answers = function answers(canvas, allRows, figure) {
  const rows = ofRun(allRows);
  const skill = choice(figure, "skill", "Skill", unique(rows.map((row) => row.skill)).map((name) => [name, name]));
  const own = rows.filter((row) => row.skill === skill);
  const titles = {
    "in another form": ["Right in another form", "the tolerant score is higher than the strict one"],
    nothing: ["Without a score", "not right, as far as the metric can tell"],
    "part of the score": ["With part of the score", "the metric gives more than 0 and less than 1"],
    "full score": ["With the full score", "right, and in the right form"],
    unscored: ["Not scored one by one", "a harness logged them without scores of their own"],
  };
  const ends = { end: "ended by the model", length: "cut off at max_new_tokens", "": "reason of its end not known" };
  const says = (value) => (value === null ? "not known" : number(value, 3));
  canvas.replaceChildren();
  for (const [kind, [name, gloss]] of Object.entries(titles)) {
    const cards = own.filter((row) => row.kind === kind);
    if (!cards.length) continue;
    const title = element("h4", "shelf", `${name} `);
    title.append(element("small", "", gloss));
    const grid = element("div", "cardgrid wide");
    for (const row of cards) {
      const card = element("div", "card");
      card.append(element("p", "question-text data", row.prompt || "(prompt not recorded)"));
      card.append(element("p", "answer-text data", row.prediction || "(empty prediction)"));
      card.append(element("p", "data", `allowed: ${row.answers || "(none)"}`));
      card.append(element("p", `about data${row.stop === "length" ? " cut" : ""}`, `strict ${says(row.strict)} · tolerant ${says(row.tolerant)} · ${ends[row.stop]}`));
      card.append(element("p", "about data", row.id));
      grid.append(card);
    }
    canvas.append(title, grid);
  }
};
