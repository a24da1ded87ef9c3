// The script of the Activity page in a real Chromium, on a page of its own, with a feed that says what it is told to: where a
// line goes that is new or judged otherwise, and that no hour is made up for what is kept by the day.
//
//   node activity.js PATH-OF-ACTIVITY.JS
//
// It prints the list after each step, newest first, machines in brackets, and the words of every time.
"use strict";
const { readFileSync } = require("node:fs");
const { launch } = require("./chromium.js");

const line = (sequence, day) =>
  `<li class="click" data-sequence="${sequence}"><p>x</p><p class="when"><time${day ? " data-by-day" : ""}` +
  ` datetime="${day ?? new Date().toISOString()}">${day ? "that day" : ""}</time></p></li>`;
const steps = [
  ["activity", 10, false], ["change", 4, true], ["change", 9, true], ["change", 8, false], ["change", 8, true],
  ["change", 5, true, true], ["change", 6, false], ["activity", 11, true], ["activity", 12, true],
];

(async () => {
  const browser = await launch();
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.setContent(
    `<p id="live"></p><p id="nothing"></p><ol id="activity" data-feed="/feed" data-after="9">${line(9)}` +
    `<li class="machines"><details><summary></summary><ol>${line(8)}${line(6)}</ol></details></li>` +
    `${line(5, new Date().toISOString().slice(0, 10))}${line(4)}</ol>`);
  await page.evaluate(() => {
    window.heard = {};
    window.EventSource = class { addEventListener(name, use) { window.heard[name] = use; } };
  });
  await page.addScriptTag({ content: readFileSync(process.argv[2], "utf8") });
  const look = () => page.evaluate(() => {
    const number = (item) => item.dataset.sequence;
    const one = (item) => {
      if (!item.classList.contains("machines")) return number(item);
      return `[${[...item.querySelectorAll("li")].map(number).join(" ")}]`;
    };
    return [...document.getElementById("activity").children].map(one).join(" ");
  });
  const lists = [await look()];
  for (const [kind, sequence, machine, byDay] of steps) {
    const told = {
      sequence, machine, kind: "click", who: "w", what: "did", subject: "s", link: "", details: [],
      at: new Date().toISOString(), friendly: "then", ago: byDay ? "that day" : "just now", by_day: Boolean(byDay),
    };
    await page.evaluate(([name, data]) => window.heard[name]({ data }), [kind, JSON.stringify(told)]);
    lists.push(await look());
  }
  const times = await page.evaluate(() => [...document.querySelectorAll("time")].map((time) => time.textContent));
  await browser.close();
  console.log(JSON.stringify({ lists, times, errors }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
