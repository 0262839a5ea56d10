// What browser.py has a browser do: load each page of a site in a frame, and tell what is wrong.

const THEMES = ["light", "dark"];
const MARGIN = 1; // pixels by which rounding may make a thing wider than its place
const TOP = 5; // a search must find its page among so many results
const HEADINGS = "h1, h2, h3, h4, h5, h6";

const frame = document.getElementById("frame");
const faults = new Map(); // by what tells one from another
let place, view; // the page, and its window

const fault = (text, key = text) => faults.set(`${place}: ${key}`, `${place}: ${text}`);
const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const style = (element, part) => view.getComputedStyle(element, part);
const isShown = element =>
  element.checkVisibility({opacityProperty: true, visibilityProperty: true});
const all = selector => [...view.document.querySelectorAll(selector)];
const shown = selector => all(selector).filter(isShown);

function name(element) {
  const classes = [...element.classList].slice(0, 2).map(each => "." + each);
  return element.tagName.toLowerCase() + classes.join("");
}

// Structure

function checkStructure() {
  if (!view.document.documentElement.lang) fault("does not say its language");
  if (!all("link[rel~=icon]").length) fault("has no icon, so browsers ask for /favicon.ico");
  const ids = all("[id]").map(element => element.id);
  for (const id of ids.filter((id, n) => ids.indexOf(id) < n)) fault(`has two places named ${id}`);
  for (const element of all("[role=heading]:not([aria-level])"))
    fault(`"${element.textContent}" is a heading without a level`);
  checkHeadings(shown(HEADINGS));
}

function checkHeadings(headings) {
  const levels = headings.map(heading => Number(heading.tagName[1]));
  const tops = levels.filter(level => level === 1).length;
  if (tops !== 1) fault(`has ${tops} headings of level 1`);
  levels.forEach((level, n) => {
    if (n && level > levels[n - 1] + 1) fault(`"${headings[n].innerText}" skips a level`);
  });
}

// What a screen reader says for a link or a field.
function label(element) {
  const others = (element.getAttribute("aria-labelledby") ?? "").split(" ");
  const texts = [
    element.getAttribute("aria-label"),
    element.title,
    element.innerText,
    ...[...element.querySelectorAll("img")].map(image => image.alt),
    ...[...(element.labels ?? [])].map(each => each.innerText),
    ...others.map(id => view.document.getElementById(id)?.innerText),
  ];
  return texts.filter(Boolean).join(" ");
}

function checkLabels() {
  for (const link of shown("a[href]"))
    if (!/[^\s¶#]/.test(label(link)))
      fault(`the link to ${link.getAttribute("href")} has no text`);
  for (const field of shown("input, select, textarea, button"))
    if (!label(field)) fault(`${name(field)} has no label`);
}

// Room

function checkRoom() {
  const width = frame.clientWidth;
  const root = view.document.documentElement;
  if (root.scrollWidth > root.clientWidth)
    fault(`is ${root.scrollWidth} pixels wide in a window of ${width}`);
  for (const element of view.document.body.querySelectorAll("*"))
    if (element.clientWidth > 1 && element.scrollWidth > element.clientWidth + MARGIN)
      checkWide(element, style(element), `${name(element)} is wider than its place at ${width}`);
}

function checkWide(element, {overflowX, backgroundAttachment, clip}, text) {
  if (clip !== "auto") return; // text that only screen readers get
  if (["hidden", "clip"].includes(overflowX)) fault(`${text}, and cut off`);
  if (!["auto", "scroll"].includes(overflowX)) return;
  if (element.tabIndex < 0) fault(`${text}, and no key reaches it`);
  // (A scroll bar, which browsers may hide, is not enough.)
  if (!/local/.test(backgroundAttachment)) fault(`${text}, and nothing shows that it scrolls`);
}

// Colours, as [red, green, blue, alpha]

const WHITE = [255, 255, 255, 1];
const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const colours = new Map();
let grounds; // by element

function rgba(colour) {
  if (!colours.has(colour)) {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    colours.set(colour, [red, green, blue, alpha / 255]);
  }
  return colours.get(colour);
}

function over(top, under) {
  const mix = n => top[n] * top[3] + under[n] * (1 - top[3]);
  return [mix(0), mix(1), mix(2), 1];
}

// (Luminance and contrast are those of the guidelines WCAG 2.)
function luminance(colour) {
  const [red, green, blue] = colour.slice(0, 3).map(value => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

// The colours that may lie behind the text of an element. (Shades at an edge do not count.)
function backgrounds(element) {
  if (!element) return [WHITE];
  if (!grounds.has(element)) {
    const {backgroundColor, backgroundImage, backgroundAttachment} = style(element);
    const own = rgba(backgroundColor);
    const under = own[3] < 1 ? backgrounds(element.parentElement) : [WHITE];
    let result = under.map(colour => over(own, colour));
    if (/gradient/.test(backgroundImage) && !/local/.test(backgroundAttachment)) {
      const parts = backgroundImage.match(/(rgba?|color|okl\w+)\([^()]*\)/g).map(rgba);
      result = result.flatMap(colour => parts.map(part => over(part, colour)));
    }
    grounds.set(element, result);
  }
  return grounds.get(element);
}

function opacity(element) {
  return element ? Number(style(element).opacity) * opacity(element.parentElement) : 1;
}

// Text

function checkContrast(theme) {
  grounds = new Map();
  const walker = view.document.createTreeWalker(view.document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (seen.has(element) || !walker.currentNode.data.trim() || !isShown(element)) continue;
    seen.add(element);
    checkText(element, style(element), walker.currentNode.data, theme);
  }
  for (const field of shown("[placeholder]"))
    checkText(field, style(field, "::placeholder"), field.placeholder, theme);
  for (const element of shown("body *"))
    for (const part of ["::before", "::after"]) {
      const {content} = style(element, part);
      if (/^".*\p{L}/u.test(content))
        checkText(element, style(element, part), content, theme);
    }
}

function checkText(element, {color, fontSize, fontWeight}, text, theme) {
  const [red, green, blue, alpha] = rgba(color);
  const ink = [red, green, blue, alpha * opacity(element)];
  const size = parseFloat(fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && fontWeight >= 700);
  const least = isLarge ? 3 : 4.5;
  for (const ground of backgrounds(element)) {
    const ratio = contrast(over(ink, ground), ground);
    if (ratio >= least) continue;
    const where = `in the ${theme} theme, ${name(element)}`;
    const sample = text.trim().slice(0, 30);
    fault(`${where}, "${sample}": has a contrast of ${ratio.toFixed(2)}, not ${least}`, where);
  }
}

// Pictures

function checkPictures(theme) {
  grounds = new Map();
  for (const image of shown("img")) {
    const source = image.getAttribute("src");
    if (!image.complete || !image.naturalWidth) {
      fault(`${source}: is not shown`);
      continue;
    }
    const {paddingLeft, paddingRight} = style(image);
    const width = image.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const isDrawing = new URL(image.currentSrc).pathname.endsWith(".svg");
    if (!isDrawing && image.naturalWidth + MARGIN < width)
      fault(`${source}: is ${image.naturalWidth} pixels wide, and shown at ${width}`);
    checkAlt(image, source);
    checkInk(image, source, theme);
  }
}

function checkAlt(image, source) {
  if (image.alt === "" && image.closest(".sphx-glr-thumbcontainer"))
    return;  // it adds nothing to the title beside it
  const letters = text => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  const file = letters(decodeURI(source).split("/").pop().replace(/\.\w+$/, ""));
  if ([...image.attributes].some(({name}) => name.includes('"')))
    fault(`${source}: its alternative text has quotes that end it`);
  else if (image.alt.trim().split(/\s+/).length < 2 || file.includes(letters(image.alt)))
    fault(`${source}: its alternative text, "${image.alt}", says nothing`);
}

// Is what a picture draws to be seen on what lies behind it?
function checkInk(image, source, theme) {
  const [behind] = backgrounds(image);
  const pixels = pixelsOf(image);
  const ground = over(pixels[0], behind);
  if (theme === "dark" && luminance(ground) > 0.5 && luminance(behind) < 0.5)
    fault(`${source}: is light, and has no light panel in the dark theme`);
  const drawn = pixels.filter(pixel => pixel[3] > 0.5);
  const ratios = drawn.map(pixel => contrast(over(pixel, ground), ground));
  const isClear = pixels[0][3] < 0.5; // then ink that was meant for a light page may be lost
  const nLost = isClear && luminance(ground) < 0.2 ? ratios.filter(ratio => ratio < 1.3).length : 0;
  if (!ratios.some(ratio => ratio >= 3) || nLost > 0.1 * drawn.length)
    fault(`${source}: can hardly be seen in the ${theme} theme`);
}

function pixelsOf(image, size = 200) {
  const canvas = new OffscreenCanvas(size, size).getContext("2d");
  canvas.filter = style(image).filter;
  canvas.drawImage(image, 0, 0, size, size);
  const {data} = canvas.getImageData(0, 0, size, size);
  return Array.from({length: size * size}, (_, n) => {
    const [red, green, blue, alpha] = data.subarray(4 * n, 4 * n + 4);
    return [red, green, blue, alpha / 255];
  });
}

// A site

async function open(page) {
  place = page;
  frame.style.width = WIDTHS[0] + "px";
  await new Promise(resolve => { frame.onload = resolve; frame.src = page; });
  view = frame.contentWindow;
  const still = view.document.createElement("style");
  still.textContent = "* { transition: none !important; animation: none !important }";
  view.document.head.append(still);
}

async function check(page) {
  await open(page);
  checkStructure();
  checkLabels();
  for (const width of WIDTHS) {
    frame.style.width = width + "px";
    await wait(40); // for scripts of the page that see that its size is another one
    for (const theme of THEMES) {
      view.document.body.dataset.theme = theme;
      checkRoom();
      checkContrast(theme);
      checkPictures(theme);
    }
  }
  checkRequests();
}

function checkRequests() {
  for (const {name} of view.performance.getEntriesByType("resource"))
    if (!name.startsWith(location.origin)) fault(`loads ${name}`);
  for (const text of view.faults ?? []) fault(`says on the console: ${text}`);
}

async function search(word, pages) {
  await open("search.html?q=" + encodeURIComponent(word));
  place = "search.html";
  const results = () => all("#search-results ul.search > li > a:first-of-type").slice(0, TOP);
  const isOver = () => /finished|did not match/.test(all("#search-results")[0]?.innerText);
  for (let n = 0; n < 200 && results().length < TOP && !isOver(); n++) await wait(50);
  const best = results().map(link => link.getAttribute("href"));
  if (!best.some(link => pages.includes(link.replace(/[?#].*/, ""))))
    fault(`finds no page about "${word}" (${pages}), but ${best.join(", ") || "nothing"}`);
  checkRequests();
}

async function look() {
  for (const page of PAGES) await check(page);
  for (const [word, pages] of Object.entries(SEARCHES)) await search(word, pages);
}

look().catch(error => fault("the check itself failed: " + error.stack)).finally(
  () => fetch("/found", {method: "POST", body: JSON.stringify([...faults.values()])}));
