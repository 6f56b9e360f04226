// What a page of the book shows, once it is loaded and its formulas are drawn.
() => {
  const root = document.documentElement, count = selector => document.querySelectorAll(selector).length;

  const tooWide = root.scrollWidth > root.clientWidth;
  /** Where an element ends at the right, and on a page that is too wide its text, which may end further on. */
  const end = element => {
    const { left, right } = element.getBoundingClientRect();
    const own = tooWide && getComputedStyle(element).overflowX === "visible" ? element.scrollWidth : 0;
    return Math.max(right, left + own);
  };
  /** Whether an element sticks out of the window, and no box around it scrolls or cuts it off. */
  const sticksOut = element => {
    if (end(element) <= root.clientWidth + 1) return false;
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== "visible") return false;
    return true;
  };
  const wide = [...document.querySelectorAll("article *")].filter(sticksOut);
  return {
    formulas: count(".math") - count(".math mjx-container"),
    theme: root.dataset.theme,
    window: root.clientWidth,
    width: root.scrollWidth,
    wide: wide.map(element => element.outerHTML.slice(0, 160)),
  };
}
