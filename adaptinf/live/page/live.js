"use strict";
(() => {
  const EVERY = 2000, AT_REST = 10000, WIDTH = 640, HEIGHT = 260, LEFT = 46, BOTTOM = 24, TOP = 10, RIGHT = 10;
  const SVG = "http://www.w3.org/2000/svg";
  const at = (id) => document.getElementById(id);

  // Everything from the run becomes text, never markup.
  function made(tag, text, name) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  }
  const fill = (id, children) => at(id).replaceChildren(...children);
  const known = (value) => value !== null && value !== undefined;
  const number = (value) => known(value) ? value.toLocaleString("en") : "–";
  const percent = (value) => known(value) ? (100 * value).toFixed(1) : "–";

  function duration(seconds) {
    if (!known(seconds)) return "not known yet";
    if (seconds < 60) return `${Math.round(seconds)} s`;
    const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
    if (hours >= 48) return `${Math.floor(hours / 24)} days ${hours % 24} h`;
    return hours ? `${hours} h ${String(minutes % 60).padStart(2, "0")} min` : `${minutes} min`;
  }
  function bytes(count) {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let unit = 0;
    while (count >= 1000 && unit < 4) { count /= 1000; unit += 1; }
    return `${count.toFixed(unit ? 1 : 0)} ${units[unit]}`;
  }
  function rate(value) {
    if (!known(value)) return "";
    return value >= 10 ? `${Math.round(value).toLocaleString("en")}/s` : `${value.toPrecision(2)}/s`;
  }

  function tile(name, value, more) {
    const element = made("div", undefined, "tile");
    element.append(made("div", name, "name"), made("div", value, "value"));
    if (more) element.append(made("div", more, "more"));
    return element;
  }

  function showNow(status) {
    const beat = status.activity.beat, stages = beat ? beat.stages : [], isRunning = status.state === "running";
    at("now").hidden = !isRunning || !beat;
    if (!isRunning || !beat) return;
    const stage = stages[stages.length - 1];
    at("stage").textContent = stage ? stage.title : "between two stages";
    const bar = at("bar");
    bar.hidden = !stage;
    if (stage && stage.total) { bar.max = stage.total; bar.value = stage.done; } else bar.removeAttribute("value");
    const of = stage && known(stage.total) ? ` of ${number(stage.total)}` : "";
    at("counts").textContent = stage ? [`${number(stage.done)}${of} ${stage.unit}`, rate(stage.rate)].filter(Boolean).join(", ") : "";
    const left = status.left, tiles = [
      tile("stage: time left", duration(stage ? left.stage : null)),
      tile("step: time left", duration(left.step)),
      tile("stream: time left", duration(left.stream), `${status.steps_finished} of ${status.steps.length} steps finished`),
    ];
    if (stage && stage.beside) tiles.push(tile("workers", stage.beside));
    if (known(beat.memory_bytes)) tiles.push(tile("memory of the process", bytes(beat.memory_bytes)));
    beat.gpus.forEach((gpu, place) => tiles.push(
      tile(`GPU ${place}`, `${bytes(gpu.used_bytes)} of ${bytes(gpu.total_bytes)}`, gpu.name)));
    fill("tiles", tiles);
    const unknown = left.unknown.length ? `Step and stream: not known before ${left.unknown.join(", ")} was measured.` : "";
    const guessed = left.guessed.length ? `Guessed until it has run once: ${left.guessed.join("; ")}.` : "";
    at("unknown").textContent = [unknown, guessed].filter(Boolean).join(" ");
  }

  function drawn(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function showLoss(curves, isRunning) {
    const points = curves.flatMap((curve) => curve.points.filter((point) => known(point[1])));
    if (!points.length) return fill("loss", []);
    const last = Math.max(...points.map((point) => point[0])), losses = points.map((point) => point[1]);
    let low = Math.min(...losses), high = Math.max(...losses);
    if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
    const x = (step) => LEFT + (WIDTH - LEFT - RIGHT) * step / Math.max(1, last);
    const y = (loss) => TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low);
    const parts = [], digits = Math.max(0, 2 - Math.floor(Math.log10(high - low)));
    for (let tick = 0; tick <= 4; tick += 1) {
      const loss = low + (high - low) * tick / 4;
      parts.push(drawn("line", {class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(loss), y2: y(loss)}));
      parts.push(drawn("text", {x: LEFT - 6, y: y(loss) + 4, "text-anchor": "end"}, loss.toFixed(Math.min(digits, 6))));
    }
    parts.push(drawn("text", {x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end"}, `${number(last)} optimiser steps`));
    parts.push(drawn("text", {x: LEFT, y: HEIGHT - 6}, "0"));
    curves.forEach((curve, place) => {
      const own = curve.points.filter((point) => known(point[1])), isLast = place === curves.length - 1;
      const path = own.map((point, index) => `${index ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`);
      parts.push(drawn("path", {class: isLast ? "last" : "", d: path.join("")}));
      if (isLast && own.length) parts.push(drawn("circle", {cx: x(own[own.length - 1][0]), cy: y(own[own.length - 1][1]), r: 3.5}));
    });
    fill("loss", parts);
    const newest = curves[curves.length - 1], own = newest.points.filter((point) => known(point[1]));
    const value = own.length ? `, ${own[own.length - 1][1].toPrecision(3)} at optimiser step ${number(own[own.length - 1][0])}` : "";
    at("loss-text").textContent = `Step ${newest.step}${newest.is_under_way ? isRunning ? ", as it grows" : ", cut off" : ", finished"}${value}.`;
    at("legend").textContent = curves.length > 1
      ? `Pale: the ${curves.length > 2 ? "trainings of steps" : "training of step"} ${curves.slice(0, -1).map((curve) => curve.step).join(", ")}.` : "";
  }

  function row(cells, head) {
    const element = made("tr");
    cells.forEach((cell, place) => {
      const [text, name] = Array.isArray(cell) ? cell : [cell, ""];
      const box = made(head || place === 0 ? "th" : "td", text, name);
      if (head) box.scope = "col"; else if (place === 0) { box.scope = "row"; box.classList.add("data"); }
      element.append(box);
    });
    return element;
  }
  function table(id, head, rows) {
    const top = made("thead"), body = made("tbody");
    top.append(row(head, true));
    body.append(...rows);
    fill(id, [top, body]);
  }

  function changed(now, before) {
    if (!known(now) || !known(before)) return "–";
    const points = 100 * (now - before);
    if (Math.abs(points) < 0.05) return "as before";
    return points > 0 ? [`${points.toFixed(1)} gained`, "gained"] : [`${(-points).toFixed(1)} lost`, "lost"];
  }
  function showSkills(found) {
    if (!found) return;
    const isBase = found.step < 0;
    at("skills-title").textContent = isBase ? "Skills of the base model" : `Skills after step ${found.step}`;
    at("skills-text").textContent = "Strict accuracy in percent; changes in points.";
    const head = isBase ? ["skill", "base"] : ["skill", "base", "before", "now", "by this step", "since the base"];
    table("skills", head, found.skills.map((skill) => row(isBase ? [skill.skill, percent(skill.now)] : [
      skill.skill, percent(skill.base), percent(skill.before), percent(skill.now),
      changed(skill.now, skill.before), changed(skill.now, skill.base)])));
  }

  function stateOf(step, status) {
    if (step.lost.length) return `lacks ${step.lost.join(", ")}`;
    if (step.finished) return step.gate && step.gate !== "passed" ? `finished, ${step.gate}` : "finished";
    if (step.step === status.steps_finished && status.testing_base) return "testing the base model";
    if (step.under_way.length) return `in ${step.under_way[0]}`;
    return step.done.length ? `after ${step.done[step.done.length - 1]}` : "waiting";
  }
  function showSteps(status) {
    table("steps", ["step", ["dataset", "text"], "rows", "rejected", ["state", "text"], "pool after", "accuracy", "time"],
      status.steps.map((step) => {
        const isNow = step.step === status.steps_finished && status.state === "running";
        const element = row([step.step, [step.dataset, "text data"], number(step.rows), number(step.rejected),
          [stateOf(step, status), "text"], number(step.kept), percent(step.average_accuracy),
          known(step.seconds) ? duration(step.seconds) : "–"]);
        if (isNow) element.className = "now";
        return element;
      }));
    fill("stream", status.steps.map((step) => made("li", step.dataset,
      `data ${step.finished ? "finished" : step.step === status.steps_finished && status.state === "running" ? "now" : ""}`)));
  }

  function show(found) {
    if (found.error) {
      at("pill").textContent = "cannot be read"; at("pill").className = "pill lost"; at("line").textContent = found.error;
      return EVERY;
    }
    const status = found.status, beat = status.activity.beat;
    at("folder").textContent = status.folder;
    document.title = `${status.state}: ${status.folder}`;
    at("pill").textContent = status.state; at("pill").className = `pill ${status.state}`;
    const said = found.line.startsWith(`${status.state}`) ? found.line.slice(status.state.length).replace(/^: /, "") : "";
    at("line").textContent = said || `${status.steps_finished} of ${status.steps.length} steps finished`;
    showNow(status); showLoss(found.curves, status.state === "running"); showSkills(found.table); showSteps(status);
    const notes = beat ? beat.notes : [];
    at("notes-panel").hidden = !notes.length;
    fill("notes", [...notes].reverse().map((note) => made("li", note, /warning|died|error/i.test(note) ? "data warning" : "data")));
    return status.state === "running" || status.state === "stopped" ? EVERY : AT_REST;
  }

  async function look() {
    let wait = EVERY;
    try {
      const answer = await fetch("state.json", {cache: "no-store"});
      wait = show(await answer.json());
    } catch (error) {
      at("pill").textContent = "not reached"; at("pill").className = "pill lost";
      at("line").textContent = "adaptinf view has ended: start it again to see the run";
    }
    setTimeout(look, wait);
  }
  look();
})();
