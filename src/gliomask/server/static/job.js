"use strict";
// Follows a job that has not ended: shows how far it is, and loads the page again at its end. Later, shows new corrections.
(() => {
  // The viewer, in a frame of this page, has saved a correction: shows it in the list.
  window.addEventListener("message", async (event) => {
    if (event.origin !== window.location.origin || event.data !== "gliomask: corrected") return;
    const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("corrections");
    const shown = document.getElementById("corrections");
    if (fresh && shown) shown.replaceWith(fresh);
  });
  const job = document.getElementById("job");
  if (!job || !["queued", "running"].includes(job.dataset.state)) return;
  const state = document.getElementById("state");
  const stage = document.getElementById("stage");
  const bar = document.getElementById("progress");
  const events = new EventSource(job.dataset.events);
  events.addEventListener("job", (event) => {
    const told = JSON.parse(event.data);
    if (!["queued", "running"].includes(told.state)) {
      events.close();
      window.location.reload();
      return;
    }
    state.textContent = told.state;
    const progress = told.progress;
    stage.textContent = progress ? progress.stage : `${told.waiting_before} before it`;
    if (progress && progress.total > 0) bar.value = (100 * progress.done) / progress.total;
    else bar.removeAttribute("value");
  });
})();
