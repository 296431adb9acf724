"use strict";
// Shows how much of an upload is sent; without it the form works as any form does.
(() => {
  const form = document.getElementById("upload");
  const bar = document.getElementById("sent");
  const told = document.getElementById("told");
  if (!form) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    request.open("POST", "/api/v1/jobs");
    request.upload.addEventListener("progress", (sent) => {
      bar.hidden = false;
      if (sent.lengthComputable) bar.value = (100 * sent.loaded) / sent.total;
    });
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = { message: "The server's answer cannot be read." };
      }
      if (request.status === 201) window.location.assign(`/jobs/${answer.id}`);
      else told.textContent = `${answer.message || ""} ${answer.hint || ""}`;
    });
    request.addEventListener("error", () => {
      told.textContent = "The server cannot be reached, or ended the upload.";
    });
    request.send(new FormData(form));
  });
})();
