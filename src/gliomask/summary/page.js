"use strict";
(() => {
  const cases = JSON.parse(document.getElementById("cases").textContent);
  const at = (id) => document.getElementById(id);
  const key = "gliomask-review:" + document.title;
  let decisions = {};
  try { decisions = JSON.parse(localStorage.getItem(key)) || {}; } catch { decisions = {}; }
  let shown = [], place = 0;

  const of = (name) => (Object.hasOwn(decisions, name) ? decisions[name] : { decision: "", note: "" });
  const keep = (name, change) => {
    decisions[name] = { ...of(name), ...change };
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
    undecided: (item) => !of(item.case).decision,
    rejected: (item) => of(item.case).decision === "rejected",
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
    const decided = cases.filter((one) => of(one.case).decision).length;
    at("count").textContent = shown.length ? `${place + 1} of ${shown.length} shown; ${decided} of ${cases.length} decided` : "No case to show.";
    at("note").value = item ? of(item.case).note : "";
    if (!item) return;
    const choice = of(item.case).decision;
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
    keep(item.case, { decision });
    if (decision) move(1);
    show();
  };
  const nextUndecided = () => {
    for (let step = 1; step <= shown.length; step += 1) {
      const index = (place + step) % shown.length;
      if (!of(shown[index].case).decision) { place = index; break; }
    }
    show();
  };

  // What begins as a formula is one to a spreadsheet, so it is written with an apostrophe before it.
  const cell = (text) => {
    const flat = String(text).replace(/[\t\r\n\v\f]+/g, " ").trim();
    return /^'*[=+\-@]/.test(flat) ? "'" + flat : flat;
  };
  const table = () => [["case", "decision", "note"], ...cases.map((item) => [item.case, of(item.case).decision, of(item.case).note])]
    .map((row) => row.map(cell).join("\t")).join("\n") + "\n";
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/tab-separated-values" }));
    link.download = "decisions.tsv";
    link.click();
    URL.revokeObjectURL(link.href);
  };

  at("filter").addEventListener("change", choose);
  at("next").addEventListener("click", () => move(1));
  at("back").addEventListener("click", () => move(-1));
  at("accept").addEventListener("click", () => decide("accepted"));
  at("reject").addEventListener("click", () => decide("rejected"));
  at("save").addEventListener("click", save);
  at("note").addEventListener("input", () => { if (shown[place]) keep(shown[place].case, { note: at("note").value }); });
  const keys = {
    a: () => decide("accepted"), r: () => decide("rejected"), u: () => decide(""), n: () => at("note").focus(), g: nextUndecided,
    j: () => move(1), k: () => move(-1), ArrowRight: () => move(1), ArrowLeft: () => move(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target === at("note")) {
      if (event.key === "Enter" || event.key === "Escape") at("note").blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === at("filter") || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.gliomaskDecisions = table;
  choose();
})();
