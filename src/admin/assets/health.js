// While a look goes on, fetches the Health page again and takes its report over.
"use strict";
(() => {
  const report = document.getElementById("report");
  if (!report) return;
  const WAIT_MS = 1000;
  // A look ends within twenty seconds.
  let left = 40;

  const take = async () => {
    try {
      const answer = await fetch(location.pathname);
      const page = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      const fresh = page && page.getElementById("report");
      if (fresh && fresh.dataset.at !== report.dataset.at) {
        report.dataset.at = fresh.dataset.at;
        report.replaceChildren(...fresh.childNodes);
        return;
      }
    } catch (error) {
      console.error(error);
    }
    left -= 1;
    if (left > 0) setTimeout(take, WAIT_MS);
  };
  if (report.dataset.looking === "yes") setTimeout(take, WAIT_MS);
})();
