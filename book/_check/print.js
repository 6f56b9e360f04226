// Leaves of the page of the whole book what is to be printed: a title, the contents, and the text, opened.
version => {
  const article = document.querySelector("article");
  if (!article) return false;
  const all = (selector, change) => article.querySelectorAll(selector).forEach(change);
  all("script", script => script.remove());
  all("details", box => { box.open = true; });
  all(".toggle-hidden", box => box.classList.remove("toggle-hidden"));
  all('a[href^="index.html#"]', link => link.setAttribute("href", link.getAttribute("href").slice(10)));

  /** What a heading says, without the link to itself. */
  const said = heading => {
    const copy = heading?.cloneNode(true);
    copy?.querySelectorAll(".headerlink").forEach(link => link.remove());
    return copy?.innerHTML ?? "";
  };
  const author = document.querySelector(".component-author")?.textContent.trim().replace(/^By\s+/, "") ?? "";
  const line = mark => {
    const heading = mark.parentElement.querySelector(`[id="${mark.id}"] ~ section h2`);
    return `<li><a href="#${mark.id}">${said(heading)}</a></li>`;
  };
  const chapters = [...article.querySelectorAll('span[id^="document-"]')].map(line).join("");
  document.querySelectorAll("script").forEach(script => script.remove());
  document.documentElement.dataset.theme = "light";
  document.body.className = "whole-book";
  document.body.innerHTML = `
    <section class="front"><p class="book-title">${said(article.querySelector("h1"))}</p><p>${author}</p>
    <p>zscir ${version}</p>
    <p>Code that the pages fold is left out here; the notebooks have it.</p></section>
    <nav class="front" aria-label="Contents"><p class="book-title">Contents</p><ul>${chapters}</ul></nav>
    <main class="bd-main"><div class="bd-content"></div></main>`;
  document.querySelector(".bd-content").append(article);
  return true;
}
