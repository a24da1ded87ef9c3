// Adds events to the Activity page as they come. Everything from the server goes in as text, never as markup.
"use strict";
(() => {
  const list = document.getElementById("activity");
  const live = document.getElementById("live");
  const nothing = document.getElementById("nothing");
  if (!list || !window.EventSource) return;
  const ROWS_MAX = 200;

  const part = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (name) element.className = name;
    return element;
  };

  const ago = (at) => {
    const secs = Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000));
    if (secs < 10) return "just now";
    if (secs < 60) return `${secs} seconds ago`;
    const mins = Math.floor(secs / 60);
    if (mins < 60) return mins === 1 ? "1 minute ago" : `${mins} minutes ago`;
    const hours = Math.floor(mins / 60);
    if (hours < 24) return hours === 1 ? "1 hour ago" : `${hours} hours ago`;
    return "";
  };

  // Of what is kept by the day nobody knows the hour: it keeps the server's words.
  const tell = () => {
    for (const time of list.querySelectorAll("time:not([data-by-day])")) {
      time.textContent = ago(time.dateTime) || time.title;
    }
  };

  const row = (line) => {
    const item = part("li", "", line.machine ? `${line.kind} machine` : line.kind);
    item.dataset.sequence = line.sequence;
    const sentence = part("p");
    sentence.append(part("strong", line.who), ` ${line.what} `);
    if (line.href && line.href.startsWith("/messages/")) {
      const link = part("a", line.subject);
      link.href = line.href;
      sentence.append(link);
    } else {
      sentence.append(line.subject);
    }
    if (line.link) sentence.append(" ", part("span", line.link, "url"));
    const when = part("p", "", "when");
    const time = part("time", line.ago);
    time.dateTime = line.at;
    time.title = line.friendly;
    if (line.by_day) time.dataset.byDay = "";
    when.append(time, ...line.details.map((detail) => ` · ${detail}`));
    item.append(sentence, when);
    return item;
  };

  const isGroup = (item) => item !== null && item.classList.contains("machines");
  const inside = (group) => group.querySelector("ol");
  const newest = (item) => Number((isGroup(item) ? item.querySelector("li") : item).dataset.sequence);
  // The first that happened before this line; null: none.
  const older = (items, line) => [...items.children].find((item) => newest(item) < line.sequence) ?? null;

  const machines = (before, items) => {
    const group = part("li", "", "machines");
    const details = part("details");
    const inner = part("ol", "", "timeline");
    inner.append(...items);
    details.append(part("summary"), inner);
    group.append(details);
    list.insertBefore(group, before);
    return group;
  };

  // By what happened first, newest on top. Machines that look one after the other are folded into one line.
  const add = (line) => {
    if (list.querySelector(`[data-sequence="${Number(line.sequence)}"]`)) return;
    nothing.hidden = true;
    const item = row(line);
    const below = older(list, line);
    const above = below === null ? list.lastElementChild : below.previousElementSibling;
    if (!line.machine) {
      list.insertBefore(item, below);
      // It came between two looks of one group.
      const rest = isGroup(above) ? [...inside(above).children].filter((look) => newest(look) < line.sequence) : [];
      if (rest.length > 0) {
        count(machines(below, rest));
        count(above);
      }
    } else {
      const group = isGroup(above) ? above : isGroup(below) ? below : machines(below, []);
      inside(group).insertBefore(item, older(inside(group), line));
      if (group === above && isGroup(below)) {
        inside(group).append(...inside(below).children);
        below.remove();
      }
      count(group);
    }
    while (list.children.length > ROWS_MAX) list.lastElementChild.remove();
    tell();
  };

  const count = (group) => {
    const number = group.querySelectorAll("li").length;
    if (number === 0) return group.remove();
    const looks = number === 1 ? "1 look" : `${number} looks`;
    group.querySelector("summary").textContent = `${looks} by machines or from your own network`;
  };

  // Judged otherwise after all: it moves to where it belongs now.
  const change = (line) => {
    const known = list.querySelector(`[data-sequence="${Number(line.sequence)}"]`);
    if (!known) return;
    const group = known.closest(".machines");
    known.remove();
    if (group) count(group);
    add(line);
  };

  const read = (use) => (event) => {
    try { use(JSON.parse(event.data)); } catch (error) { console.error(error); }
  };
  const source = new EventSource(`${list.dataset.feed}?${new URLSearchParams({ after: list.dataset.after, judged: list.dataset.judged })}`);
  source.addEventListener("activity", read(add));
  source.addEventListener("change", read(change));
  source.addEventListener("reload", () => location.reload());
  source.addEventListener("open", () => { live.textContent = "Live"; });
  source.addEventListener("error", () => {
    live.textContent = source.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Reconnecting…";
  });
  tell();
  setInterval(tell, 15000);
})();
