// Show Chinese, English or both, as the reader chose last. Chinese and English were marked when the site was built
// (docs/_ext/bilingual.py); language.css hides what data-language on <html> leaves out.
(() => {
  "use strict";
  const KEY = "tudui-language";
  const root = document.documentElement;
  const title = document.title; // both languages

  function remembered() {
    try {
      const choice = localStorage.getItem(KEY);
      return ["zh", "en", "both"].includes(choice) ? choice : "both";
    } catch {
      return "both"; // no storage, for example in a private window
    }
  }

  function show(choice) {
    root.dataset.language = choice;
    root.lang = choice === "zh" ? "zh-CN" : "en";
    for (const button of document.querySelectorAll(".language-switch button")) {
      button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    }
    document.title = choice === "both" ? title : titleIn(choice);
    dispatchEvent(new Event("languageshown"));
  }

  function titleIn(choice) {
    const heading = document.querySelector("article h1");
    if (!heading || !heading.querySelector("." + choice)) return title;
    const copy = heading.cloneNode(true);
    const others = choice === "zh" ? ".en" : ".zh";
    for (const part of copy.querySelectorAll(`${others}, .separator, .headerlink`)) part.remove();
    return `${copy.textContent.trim()} - tudui_course`;
  }

  function choose(choice) {
    // The heading being read stays where it is on the screen, though the text above it grows or shrinks.
    const headings = [...document.querySelectorAll("article :is(h1, h2, h3)")];
    const reading = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 2).pop();
    const before = reading?.getBoundingClientRect().top;
    show(choice);
    if (reading && scrollY > 0) scrollBy({ top: reading.getBoundingClientRect().top - before, behavior: "instant" });
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // shown all the same, until the next page
    }
  }

  show(remembered()); // before the page is painted
  document.addEventListener("DOMContentLoaded", () => {
    for (const group of document.querySelectorAll(".language-switch")) {
      group.hidden = false;
      for (const button of group.children) button.addEventListener("click", () => choose(button.dataset.choice));
    }
    show(remembered());
  });
  addEventListener("storage", (event) => event.key === KEY && show(remembered())); // chosen in another tab
})();
