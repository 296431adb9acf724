"use strict";
(() => {
  const cases = JSON.parse(document.getElementById("cases").textContent);
  const at = (id) => document.getElementById(id);
  // Pages that are opened from disk share one store: the study's own name keeps them apart.
  const key = "gliomask-review:" + document.body.dataset.study;
  let decisions = {};
  try { decisions = JSON.parse(localStorage.getItem(key)) || {}; } catch { decisions = {}; }
  let shown = [], place = 0;

  // A decision is about one label map: when the case was segmented anew, it is to be looked at again.
  const of = (item) => {
    const kept = Object.hasOwn(decisions, item.case) ? decisions[item.case] : null;
    return kept && kept.labelMap === item.labelMap ? kept : { decision: "", note: "" };
  };
  const keep = (item, change) => {
    decisions[item.case] = { ...of(item), ...change, labelMap: item.labelMap };
    try { localStorage.setItem(key, JSON.stringify(decisions)); } catch { /* The page still works; save before closing it. */ }
  };
  const add = (parent, kind, text, style) => {
    const element = document.createElement(kind);
    if (text !== undefined) element.textContent = text;
    if (style) element.className = style;
    parent.append(element);
    return element;
  };

  const filters = {
    all: () => true,
    attention: (item) => item.attention.length > 0,
    undecided: (item) => !of(item).decision,
    rejected: (item) => of(item).decision === "rejected",
  };

  const choose = () => {
    const current = shown[place];
    shown = cases.filter(filters[at("filter").value]);
    place = Math.max(0, shown.indexOf(current));
    show();
  };

  const show = () => {
    const article = at("case"), item = shown[place];
    article.replaceChildren();
    const decided = cases.filter((other) => of(other).decision).length;
    at("count").textContent = shown.length ? `${place + 1} of ${shown.length} shown; ${decided} of ${cases.length} decided` : "No case to show.";
    at("note").value = item ? of(item).note : "";
    if (!item) return;
    const choice = of(item).decision;
    const heading = add(article, "h3", item.case);
    if (choice) add(heading, "span", " " + choice, choice);
    for (const line of item.attention) add(article, "p", line, "attention");
    for (const line of item.facts) add(article, "p", line);
    if (item.picture) {
      const picture = add(article, "img");
      picture.src = item.picture;
      picture.alt = "Sections of " + item.case + " with the tumour's outlines";
    } else {
      add(article, "p", "There is no picture of this case.", "notice");
    }
  };

  const move = (step) => {
    place = Math.min(Math.max(place + step, 0), Math.max(shown.length - 1, 0));
    show();
  };
  const decide = (decision) => {
    const item = shown[place];
    if (!item) return;
    keep(item, { decision });
    if (decision) move(1);
    show();
  };
  const nextUndecided = () => {
    for (let step = 1; step <= shown.length; step += 1) {
      const index = (place + step) % shown.length;
      if (!of(shown[index]).decision) { place = index; break; }
    }
    show();
  };

  // What begins as a formula is one to a spreadsheet, so it is written with an apostrophe before it.
  const cell = (text) => {
    const flat = String(text).replace(/[\t\r\n\v\f]+/g, " ").trim();
    return /^'*[=+\-@]/.test(flat) ? "'" + flat : flat;
  };
  const COLUMNS = ["case", "decision", "note", "label_map_sha256"];
  const table = () => [COLUMNS, ...cases.map((item) => [item.case, of(item).decision, of(item).note, item.labelMap])]
    .map((row) => row.map(cell).join("\t")).join("\n") + "\n";
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/tab-separated-values" }));
    link.download = "decisions.tsv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  const counted = (number) => `${number} decision${number === 1 ? "" : "s"}`;
  const plain = (text) => (/^'+[=+\-@]/.test(text) ? text.slice(1) : text);
  // Takes up a saved table; what it says of other label maps is left alone, and decisions made here are replaced only if the
  // reader says so. Returns what became of it, in words.
  const load = (text) => {
    const [heading, ...lines] = text.split(/\r?\n/).filter(Boolean).map((line) => line.split("\t").map(plain));
    if (!heading || heading.join() !== COLUMNS.join()) return "This is no table of decisions.";
    const items = new Map(cases.map((item) => [item.case, item]));
    const found = [];
    let other = 0;
    for (const [name, decision, note, labelMap] of lines) {
      const item = items.get(name);
      if (!decision && !note) continue;
      if (!item || item.labelMap !== (labelMap || "") || !["", "accepted", "rejected"].includes(decision)) { other += 1; continue; }
      found.push([item, { decision, note: String(note || "").slice(0, 500) }]);
    }
    // Notes are compared as a table holds them.
    const asSaved = ({ decision, note }) => [decision, plain(cell(note))].join("\t");
    const differs = ([item, given]) => asSaved(of(item)) !== "\t" && asSaved(of(item)) !== asSaved(given);
    const differing = found.filter(differs).map(([item]) => item.case);
    const replace = differing.length === 0 || window.confirm(
      `Made here and not as in the table: ${counted(differing.length)} (${differing.slice(0, 5).join(", ")}${differing.length > 5 ? ", ..." : ""}). `
      + "OK takes the table's; Cancel keeps what was made here and loads only the others.");
    const taken = replace ? found : found.filter((one) => !differs(one));
    for (const [item, given] of taken) keep(item, given);
    choose();
    return [
      `${counted(taken.length)} loaded`,
      ...(replace ? [] : [`${differing.length} kept as made here`]),
      ...(other ? [`${other} left out: of other cases or label maps`] : []),
    ].join(", ") + ".";
  };

  at("filter").addEventListener("change", choose);
  at("load").addEventListener("change", async () => {
    const [file] = at("load").files;
    if (file) at("loaded").textContent = file.size < 5e7 ? load(await file.text()) : "This file is too large.";
  });
  at("next").addEventListener("click", () => move(1));
  at("back").addEventListener("click", () => move(-1));
  at("accept").addEventListener("click", () => decide("accepted"));
  at("reject").addEventListener("click", () => decide("rejected"));
  at("save").addEventListener("click", save);
  at("note").addEventListener("input", () => { if (shown[place]) keep(shown[place], { note: at("note").value }); });
  const keys = {
    a: () => decide("accepted"), r: () => decide("rejected"), u: () => decide(""), n: () => at("note").focus(), g: nextUndecided,
    j: () => move(1), k: () => move(-1), ArrowRight: () => move(1), ArrowLeft: () => move(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target === at("note")) {
      if (event.key === "Enter" || event.key === "Escape") at("note").blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === at("filter") || event.target === at("load") || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.gliomaskDecisions = table;
  window.gliomaskLoad = load;
  choose();
})();
