// Runs in a page of the book once it is loaded and its formulas are drawn; reports to the frame's owner.

/** Whether an element sticks out of the window, and no box around it scrolls or cuts it off. */
function sticksOut(one) {
  const root = document.documentElement;
  if (one.getBoundingClientRect().right <= root.clientWidth + 1) return false;
  for (let box = one.parentElement; box && box !== document.body; box = box.parentElement)
    if (getComputedStyle(box).overflowX !== "visible") return false;
  return true;
}

/** Where a finding is: its selector, and how its HTML begins. */
const place = node => `${node.target.flat().join(" ")}  ${node.html.slice(0, 160)}`;

addEventListener("load", async () => {
  if (window.MathJax?.startup?.promise) await MathJax.startup.promise;
  const root = document.documentElement, count = selector => document.querySelectorAll(selector).length;
  await new Promise(done => setTimeout(done, 400));  // the theme looks 300 ms later which boxes scroll
  const found = await axe.run(document, {resultTypes: ["violations"]});
  const asked = performance.getEntriesByType("resource").map(entry => entry.name);
  parent.postMessage({
    violations: found.violations.map(one => ({rule: one.id, impact: one.impact, places: one.nodes.map(place)})),
    foreign: asked.filter(url => !url.startsWith(location.origin)),
    formulas: count(".math") - count(".math mjx-container"),
    theme: root.dataset.theme,
    window: root.clientWidth,
    width: root.scrollWidth,
    wide: [...document.querySelectorAll("article *")].filter(sticksOut).map(one => one.outerHTML.slice(0, 160)),
  }, "*");
});
