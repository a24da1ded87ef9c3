// Whether mails look the same before and after: FOLDER TRACKING_PORT. Desktop, phone and dark; the pixel loaded and not.
// Compared: the page's screenshot byte for byte, every box's place and size, and how far the page scrolls.
const fs = require('node:fs');
const path = require('node:path');
const { open, run } = require('./browser.js');
const { photograph } = require('./chromium.js');

const [folder, port] = process.argv.slice(2);
const LOOKS = [
  { name: 'desktop', viewport: { width: 1000, height: 700 }, colorScheme: 'light' },
  { name: 'phone', viewport: { width: 375, height: 667 }, colorScheme: 'light', deviceScaleFactor: 2 },
  { name: 'dark', viewport: { width: 640, height: 480 }, colorScheme: 'dark' },
];

// Everything a page is laid out as, but for our pixel, which is told apart.
const measure = () => {
  const rect = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return [x, y, width, height];
  };
  const ours = (element) => element.localName === 'img' && element.src.startsWith('http://track.example/i/');
  const all = [...document.querySelectorAll('*')];
  const root = document.documentElement;
  return {
    boxes: all.filter((element) => !ours(element)).map((element) => [element.localName, ...rect(element)]),
    scroll: [root.scrollWidth, root.scrollHeight, document.body.scrollWidth, document.body.scrollHeight],
    pixels: all.filter(ours).map((element) => ({ rect: rect(element), naturalWidth: element.naturalWidth })),
  };
};

// Device pixels that Chromium draws as one picture for sure. A page that is taller is put together of tiles, and on a busy machine
// not always of all of them: of such a one the begin (where the pixel of a long mail is), the middle and the end are looked at.
const WHOLE_MAX = 8000;
const picture = async (page, { deviceScaleFactor = 1, viewport }) => {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  if (height * deviceScaleFactor <= WHOLE_MAX) return photograph(page, { fullPage: true });
  const parts = [];
  for (const y of [0, Math.floor(height / 2), height - viewport.height]) {
    await page.evaluate((to) => window.scrollTo(0, to), y);
    parts.push(await photograph(page));
  }
  return Buffer.concat(parts);
};

run(async () => {
  const { newContext, names, close } = await open(folder, port);
  const faults = [];
  let pictures = 0;
  for (const look of LOOKS) {
    const untracked = new Map();
    for (const blocked of [false, true]) {
      const context = await newContext(look);
      const page = await context.newPage();
      if (blocked) await page.route('http://track.example/**', (route) => route.abort());
      const see = async (stem) => {
        await page.goto(`http://mail.test/${stem}`, { waitUntil: 'load' });
        return { seen: await page.evaluate(measure), picture: await picture(page, look) };
      };
      for (const name of names) {
        if (!untracked.has(name)) untracked.set(name, await see(`${name}.before`));
        const before = untracked.get(name);
        const after = await see(`${name}.after`);
        pictures += 1;
        const where = `${name}, ${look.name}, ${blocked ? 'blocked' : 'loaded'}`;
        const fault = (what) => faults.push(`${where}: ${what}`);
        if (JSON.stringify(before.seen.boxes) !== JSON.stringify(after.seen.boxes)) {
          const at = before.seen.boxes.findIndex((box, n) => JSON.stringify(box) !== JSON.stringify(after.seen.boxes[n]));
          fault(`box ${at}: ${before.seen.boxes[at]} is now ${after.seen.boxes[at]}`);
        }
        if (`${before.seen.scroll}` !== `${after.seen.scroll}`) {
          fault(`the page was ${before.seen.scroll} and is ${after.seen.scroll}`);
        }
        // A busy machine may photograph a page before it is whole. What a pixel does stays.
        let differs = !before.picture.equals(after.picture);
        for (let again = 0; differs && again < 4; again += 1) {
          const [one, other] = [await see(`${name}.before`), await see(`${name}.after`)];
          differs = !one.picture.equals(other.picture);
        }
        if (differs) {
          fault('another picture');
          for (const [when, { picture }] of Object.entries({ before, after })) {
            fs.writeFileSync(path.join(folder, `${where}.${when}.png`.replaceAll(' ', '')), picture);
          }
        }
        const [pixel] = after.seen.pixels;
        if (after.seen.pixels.length !== 1 || before.seen.pixels.length !== 0) fault('not one pixel');
        else {
          if (pixel.rect[2] > 1 || pixel.rect[3] > 1) fault(`the pixel is ${pixel.rect}`);
          if (pixel.naturalWidth !== (blocked ? 0 : 1)) fault(`the pixel's own width is ${pixel.naturalWidth}`);
        }
      }
      await context.close();
    }
  }
  await close();
  console.log(`${names.length} mails, ${pictures} pictures, ${faults.length} faults`);
  faults.forEach((fault) => console.log(fault));
  process.exit(faults.length || pictures < 60 ? 1 : 0);
});
