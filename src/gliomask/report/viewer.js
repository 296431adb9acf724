// Shows one slice of a sheet of tiles in a canvas: wheel or arrow keys change the slice, plus and minus enlarge, dragging moves.
"use strict";
(() => {
  const root = document.getElementById("viewer");
  const canvas = root.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const told = root.querySelector("output");
  const part = (name) => root.querySelector(`[name=${name}]`);
  const facts = JSON.parse(root.dataset.facts);
  const sheets = [...root.querySelectorAll("img.sheet")];
  const labels = root.querySelector("img.labels");
  const state = { sheet: 0, slice: facts.first, zoom: 1, x: 0, y: 0 };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // As large as the canvas allows, in millimetres, so that pixels which are not square keep their shape.
  const shown = () => {
    const wide = facts.tile[0] * facts.pixelMm[0];
    const high = facts.tile[1] * facts.pixelMm[1];
    const scale = Math.min(canvas.width / wide, canvas.height / high) * 0.94 * state.zoom;
    return { scale, wide: wide * scale, high: high * scale };
  };

  const letter = (text, x, y, align, base) => {
    pen.textAlign = align;
    pen.textBaseline = base;
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  };

  const draw = () => {
    const { scale, wide, high } = shown();
    const [width, height] = facts.tile;
    const column = state.slice % facts.columns;
    const row = Math.floor(state.slice / facts.columns);
    const place = [(canvas.width - wide) / 2 + state.x, (canvas.height - high) / 2 + state.y, wide, high];
    const tile = [column * width, row * height, width, height];
    pen.filter = "none";
    pen.globalAlpha = 1;
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.filter = `brightness(${part("brightness").value}%) contrast(${part("contrast").value}%)`;
    pen.imageSmoothingEnabled = true;
    pen.drawImage(sheets[state.sheet], ...tile, ...place);
    pen.filter = "none";
    pen.globalAlpha = part("labels").value / 100;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(labels, ...tile, ...place);
    pen.globalAlpha = 1;
    pen.font = "600 18px system-ui, sans-serif";
    pen.lineWidth = 4;
    pen.strokeStyle = "#000";
    pen.fillStyle = "#f5f6f8";
    const [left, right, top, bottom] = facts.marks;
    letter(left, 10, canvas.height / 2, "left", "middle");
    letter(right, canvas.width - 10, canvas.height / 2, "right", "middle");
    letter(top, canvas.width / 2, 10, "center", "top");
    letter(bottom, canvas.width / 2, canvas.height - 10, "center", "bottom");
    letter(sheets[state.sheet].alt, 10, 10, "left", "top");
    const length = [50, 20, 10, 5].find((mm) => mm * scale <= canvas.width / 4) ?? 5;
    letter(`${length} mm`, canvas.width - 12, canvas.height - 22, "right", "bottom");
    pen.fillRect(canvas.width - 12 - length * scale, canvas.height - 18, length * scale, 5);
    told.textContent = `axial ${facts.slices[state.slice]}/${facts.slicesInAll}, ${Math.round(state.zoom * 100)} %`;
    part("slice").value = state.slice;
  };

  const go = (slice) => {
    state.slice = clamp(slice, 0, facts.slices.length - 1);
    draw();
  };

  const zoom = (factor) => {
    const before = state.zoom;
    state.zoom = clamp(before * factor, 1, 12);
    const kept = state.zoom === 1 ? 0 : state.zoom / before;
    state.x *= kept;
    state.y *= kept;
    draw();
  };

  const choose = (sheet) => {
    state.sheet = (sheet + sheets.length) % sheets.length;
    root.querySelectorAll("button[data-sheet]").forEach((button, n) => {
      button.setAttribute("aria-pressed", String(n === state.sheet));
    });
    draw();
  };

  const reset = () => {
    Object.assign(state, { zoom: 1, x: 0, y: 0 });
    for (const [name, value] of [["labels", 45], ["brightness", 100], ["contrast", 100]]) part(name).value = value;
    draw();
  };

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    else go(state.slice + (event.deltaY < 0 ? 1 : -1));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const ratio = canvas.width / canvas.clientWidth;
    state.x += event.movementX * ratio;
    state.y += event.movementY * ratio;
    draw();
  });
  canvas.addEventListener("dblclick", reset);
  const keys = {
    ArrowUp: () => go(state.slice + 1), ArrowDown: () => go(state.slice - 1),
    PageUp: () => go(state.slice + 10), PageDown: () => go(state.slice - 10),
    Home: () => go(0), End: () => go(facts.slices.length - 1),
    ArrowRight: () => choose(state.sheet + 1), ArrowLeft: () => choose(state.sheet - 1),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: reset,
    l: () => { part("labels").value = part("labels").value > 0 ? 0 : 45; draw(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  part("slice").max = facts.slices.length - 1;
  part("slice").addEventListener("input", (event) => go(Number(event.target.value)));
  for (const name of ["labels", "brightness", "contrast"]) part(name).addEventListener("input", draw);
  root.querySelectorAll("button[data-sheet]").forEach((button, n) => button.addEventListener("click", () => choose(n)));
  root.querySelector("[data-zoom=in]").addEventListener("click", () => zoom(1.4));
  root.querySelector("[data-zoom=out]").addEventListener("click", () => zoom(1 / 1.4));
  root.querySelector("[data-zoom=reset]").addEventListener("click", reset);
  // All pictures stand in the page itself, so with its load event they are there.
  addEventListener("load", () => {
    root.hidden = false;
    choose(Math.max(0, sheets.findIndex((sheet) => sheet.alt === facts.sheet)));
  });
})();
