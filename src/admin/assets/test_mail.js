// Keeps the steps of a test mail up to date: fetches this page again when something happened, and takes its steps over.
"use strict";
(() => {
  const steps = document.getElementById("steps");
  const live = document.getElementById("live");
  if (!steps || !window.EventSource) return;
  const { feed, message } = steps.dataset;
  const QUICK_MS = 2000;
  const SLOW_MS = 15000;
  const QUICK_FOR_MS = 120000;
  const begun = Date.now();
  let asking = false;
  let asked = false;
  let timer = 0;

  const refresh = async () => {
    if (asking) { asked = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.pathname);
      const page = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      const fresh = page && page.getElementById("steps");
      if (fresh) {
        steps.dataset.pending = fresh.dataset.pending;
        if (fresh.innerHTML !== steps.innerHTML) steps.replaceChildren(...fresh.childNodes);
      }
    } catch (error) {
      console.error(error);
    }
    asking = false;
    if (asked) { asked = false; refresh(); }
  };

  // How it is delivered is no event of the feed: while something is to come, the page is asked from time to time.
  const wait = () => {
    clearTimeout(timer);
    if (steps.dataset.pending !== "yes") return;
    timer = setTimeout(async () => { await refresh(); wait(); }, Date.now() - begun < QUICK_FOR_MS ? QUICK_MS : SLOW_MS);
  };

  const about = (event) => {
    try {
      if (JSON.parse(event.data).href === message) refresh().then(wait);
    } catch (error) {
      console.error(error);
    }
  };
  const source = new EventSource(feed);
  source.addEventListener("activity", about);
  source.addEventListener("change", about);
  source.addEventListener("open", () => { live.textContent = "Live"; });
  source.addEventListener("error", () => {
    live.textContent = source.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Reconnecting…";
  });
  wait();
})();
