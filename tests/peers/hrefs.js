// Whether each link opens the same before and after: FOLDER TRACKING_PORT. Every <a id> is clicked in both pages, and the
// address that the browser at last asks for is compared; where the link is ours, it has to go through track.example.
const { open, run } = require('./browser.js');

const [folder, port] = process.argv.slice(2);

run(async () => {
  const { newContext, names, close } = await open(folder, port);
  const context = await newContext();
  const page = await context.newPage();
  const hrefs = async (stem) => {
    await page.goto(`http://mail.test/${stem}`);
    return page.$$eval('a[id]', (all) => all.map((a) => [a.id, a.href, a.getAttribute('href')]));
  };
  // The last address the browser asks for after a click, and how often it was sent on.
  const clicked = async (stem, id) => {
    const reader = await context.newPage();
    await reader.goto(`http://mail.test/${stem}`);
    const asked = [];
    reader.on('request', (request) => request.isNavigationRequest() && asked.push(request.url()));
    const over = reader.waitForEvent('requestfailed', { predicate: (request) => request.isNavigationRequest() });
    await Promise.all([over, reader.evaluate((name) => document.getElementById(name).click(), id)]);
    await reader.close();
    return asked;
  };
  const faults = [];
  let opened = 0;
  for (const name of names) {
    const [before, after] = [await hrefs(`${name}.before`), await hrefs(`${name}.after`)];
    const look = async ([id, href, written], n) => {
      const fault = (what) => faults.push(`${name} ${id} ${JSON.stringify(written)}: ${what}`);
      const ours = after[n][1].startsWith('http://track.example/c/');
      if (ours !== id.startsWith('tracked')) fault(ours ? 'tracked' : 'not tracked');
      if (!ours) {
        if (after[n][2] !== written) fault(`changed to ${after[n][2]}`);
        return;
      }
      // A click takes a second; all of the first mail, and some of the others.
      if (name === names[0] || n % 6 === 0) {
        const [direct, through] = [await clicked(`${name}.before`, id), await clicked(`${name}.after`, id)];
        if (direct.length !== 1 || through.length !== 2) fault(`asked for ${direct} and ${through}`);
        if (direct.at(-1) !== through.at(-1)) fault(`opened ${direct.at(-1)}, and now ${through.at(-1)}`);
      }
      // What the redirect says, read as the page's own link is read: the fragment counts too.
      const answer = await fetch(after[n][1].replace('track.example', `127.0.0.1:${port}`), { redirect: 'manual' });
      const location = answer.headers.get('location');
      const read = await page.evaluate((text) => new URL(text).href, location).catch(() => `no URL: ${location}`);
      if (read !== href) fault(`${href} is now ${read}`);
      opened += 1;
    };
    // Some readers at a time.
    const waiting = [...before.entries()];
    const reader = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await look(next[1], next[0]);
    };
    await Promise.all(Array.from({ length: 4 }, reader));
  }
  await close();
  console.log(`${opened} links opened, ${faults.length} faults`);
  faults.forEach((fault) => console.log(fault));
  process.exit(faults.length ? 1 : 0);
});
