// A session that was left alone for longer than it may: one logs in again and is back where one was.
"use strict";
const { browser, logIn, check, run } = require("./dashboard.js");

run(async (site) => {
  const { context, close } = await browser(site);
  try {
    const page = await (await context()).newPage();
    await page.goto("/people");
    await logIn(page, "admin", site.password);
    await page.getByRole("heading", { name: "People" }).waitFor();
    // Somebody who goes on working meanwhile stays in.
    const busy = await (await context()).newPage();
    await busy.goto("/people");
    await logIn(busy, "admin", site.password);
    await busy.getByRole("heading", { name: "People" }).waitFor();
    const end = Date.now() + site.idle_ms;
    while (Date.now() < end) {
      await new Promise((go) => setTimeout(go, 5000));
      await busy.reload();
      await busy.getByRole("heading", { name: "People" }).waitFor();
    }
    await page.getByRole("link", { name: "Audit" }).click();
    await page.getByRole("button", { name: "Log in" }).waitFor();
    check(new URL(page.url()).pathname === "/login", "the login is asked for");
    await logIn(page, "admin", site.password);
    await page.getByRole("heading", { name: "Audit log" }).waitFor();
    return { steps: 1 };
  } finally {
    await close();
  }
});
